// Reads UI message streams as the AI SDK does: a line of JSON is {server-sent events of a stream}, and is answered with
// the message that `readUIMessageStream` makes of it, or with what was wrong.
import { createInterface } from "node:readline";
import { DefaultChatTransport, readUIMessageStream } from "ai";

class Reader extends DefaultChatTransport {
  read(text) {
    return this.processResponseStream(new Blob([text]).stream());
  }
}

const reader = new Reader();

for await (const line of createInterface({ input: process.stdin })) {
  const { text } = JSON.parse(line);
  const wrong = [];
  let message = null;
  try {
    const stream = reader.read(text); // checks each chunk against the schema of the package
    for await (const one of readUIMessageStream({ stream, onError: (error) => wrong.push(String(error)) })) message = one;
  } catch (error) {
    wrong.push(String(error));
  }
  process.stdout.write(JSON.stringify({ message, wrong }) + "\n");
}
