import { render } from "preact";
import { takeToken } from "./address";
import { App } from "./App";
import { Log } from "./log";

const log = new Log();
const token = takeToken();
if (token) log.authenticate(token);
render(<App log={log} />, document.body);
