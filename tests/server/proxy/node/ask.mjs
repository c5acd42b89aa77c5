// Asks through the proxy by the providers' own clients: `node ask.mjs URL`. Says what came, as JSON.

import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const [url] = process.argv.slice(2);
const headers = { "x-user": "u1" };
const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0, defaultHeaders: headers });
const anthropic = new Anthropic({ baseURL: url, apiKey: "none", maxRetries: 0, defaultHeaders: headers });

const QUESTION = "Weather in Paris?";
const parameters = { type: "object", properties: {} };

async function chat(streams) {
  const tools = [{ type: "function", function: { name: "weather", parameters } }];
  const messages = [{ role: "user", content: QUESTION }];
  const ask = async () => {
    const asked = { model: "m", messages, tools };
    const made = streams
      ? await openai.chat.completions.stream(asked).finalChatCompletion()
      : await openai.chat.completions.create(asked);
    messages.push(made.choices[0].message);
    return made.choices[0].message;
  };
  const [call] = (await ask()).tool_calls;
  messages.push({ role: "tool", tool_call_id: call.id, content: "21 C" });
  return (await ask()).content;
}

async function responses(streams) {
  const tools = [{ type: "function", name: "weather", parameters, strict: false }];
  const input = [{ role: "user", content: QUESTION }];
  const ask = async () => {
    const asked = { model: "m", input, tools };
    const made = streams
      ? await openai.responses.stream(asked).finalResponse()
      : await openai.responses.create(asked);
    input.push(...made.output);
    return made;
  };
  const call = (await ask()).output.find((item) => item.type === "function_call");
  input.push({ type: "function_call_output", call_id: call.call_id, output: "21 C" });
  return (await ask()).output_text;
}

async function messages(streams) {
  const tools = [{ name: "weather", input_schema: parameters }];
  const said = [{ role: "user", content: QUESTION }];
  const ask = async () => {
    const asked = { model: "m", max_tokens: 99, messages: said, tools };
    const made = streams
      ? await anthropic.messages.stream(asked).finalMessage()
      : await anthropic.messages.create(asked);
    said.push({ role: "assistant", content: made.content });
    return made;
  };
  const call = (await ask()).content.find((block) => block.type === "tool_use");
  said.push({ role: "user", content: [{ type: "tool_result", tool_use_id: call.id, content: "21 C" }] });
  return (await ask()).content[0].text;
}

async function refused() {
  try {
    await openai.chat.completions.create({ model: "m", messages: [{ role: "user", content: "Again" }] });
    return "nothing";
  } catch (error) {
    return `${error.constructor.name} ${error.status}`;
  }
}

const heard = [];
for (const talk of [chat, responses, messages]) {
  for (const streams of [false, true]) {
    heard.push(await talk(streams));
  }
}
console.log(JSON.stringify({ heard, refused: await refused() }));
