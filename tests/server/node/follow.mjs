/**
 * Many clients of turnlog.js in one process: `follow.mjs MODULE URL TOKEN CLIENTS SESSION...`. Each follows one of the
 * sessions until it is deleted, or its turn has ended (UNTIL). Says `ready` when all have their view; at the end a line
 * for each: the session, the view it began with, the positions of the deltas that it was told of, and its view.
 */
import { pathToFileURL } from "node:url";

const [module, url, token, clients, by, ...sessions] = process.argv.slice(2);
const { Turnlog } = await import(pathToFileURL(module));
const log = new Turnlog(url, { token });
let waiting = Number(clients);

async function follow(id) {
  let began, view;
  const positions = [];
  const end = await log.session(id).follow({
    by,
    onChange(changed, deltas) {
      if (view === undefined) {
        began = changed.version;
        if (--waiting === 0) console.log(JSON.stringify("ready"));
      }
      view = changed;
      positions.push(...deltas.map((delta) => delta.position));
    },
  });
  return { session: id, began, positions, view, end };
}

const all = Array.from({ length: Number(clients) }, (_, index) => follow(sessions[index % sessions.length]));
for (const followed of all) console.log(JSON.stringify(await followed));
