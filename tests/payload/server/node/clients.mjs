// Talk to the server as Chatbox and others do: node clients.mjs BASE_URL. Prints one JSON object, name -> result.

import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, jsonSchema, Output, streamText, tool } from "ai";
import { Ollama } from "ollama";
import OpenAI from "openai";

const [base, toolBase] = process.argv.slice(2);
const PIXEL =
  "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

const parameters = { type: "object", properties: { a: { type: "number" } }, required: ["a"] };
const results = {};

/** Note what `work` returns, or how it failed. */
async function note(name, work) {
  try {
    results[name] = await work();
  } catch (error) {
    results[name] = { error: error.message, name: error.name, status: error.status ?? error.statusCode ?? null, body: error.responseBody ?? null };
  }
}

/** Read a stream of the AI SDK to its end. */
async function read(result) {
  const parts = { text: "", calls: [], error: null, finish: null, usage: null };
  for await (const part of result.fullStream) {
    if (part.type === "text-delta") parts.text += part.text;
    else if (part.type === "tool-call") parts.calls.push({ name: part.toolName, input: part.input });
    else if (part.type === "error") parts.error = String(part.error?.message ?? part.error);
    else if (part.type === "finish") [parts.finish, parts.usage] = [part.finishReason, part.totalUsage];
  }
  return parts;
}

const hello = { role: "user", content: "Hi" };
const quiet = { onError() {}, maxRetries: 0 };
const tools = { f: tool({ description: "a function", inputSchema: jsonSchema(parameters) }) };
const trip = {
  type: "object",
  properties: { city: { type: "string", enum: ["北京", "上海"] }, direct: { type: "boolean" } },
  required: ["city", "direct"],
  additionalProperties: false,
};
const providers = {
  openai: (url) => createOpenAI({ baseURL: `${url}/v1`, apiKey: "any" }).chat("gpt-3.5-turbo"),
  responses: (url) => createOpenAI({ baseURL: `${url}/v1`, apiKey: "any" })("gpt-3.5-turbo"),
  compatible: (url) => createOpenAICompatible({ name: "local", baseURL: `${url}/v1`, supportsStructuredOutputs: true }).chatModel("chatglm3-6b"),
};

for (const [name, make] of Object.entries(providers)) {
  const model = make(base);
  await note(`${name} text`, () => read(streamText({ model, messages: [hello], temperature: 0, maxOutputTokens: 12, ...quiet })));
  await note(`${name} whole`, async () => (await generateText({ model, messages: [hello], temperature: 0, maxOutputTokens: 12, maxRetries: 0 })).text);
  await note(`${name} tools`, () => read(streamText({ model: make(toolBase), messages: [hello], tools, temperature: 0, ...quiet })));
  await note(`${name} form`, async () => {
    const output = Output.object({ schema: jsonSchema(trip) });
    return (await generateText({ model, messages: [hello], output, temperature: 0, maxOutputTokens: 200, maxRetries: 0 })).output;
  });
  await note(`${name} tools whole`, async () => {
    const { toolCalls, finishReason } = await generateText({ model: make(toolBase), messages: [hello], tools, temperature: 0, maxRetries: 0 });
    return { calls: toolCalls.map((call) => ({ name: call.toolName, input: call.input })), finish: finishReason };
  });
  await note(`${name} tool history`, () =>
    read(
      streamText({
        model,
        messages: [
          hello,
          { role: "assistant", content: [{ type: "tool-call", toolCallId: "call_1", toolName: "f", input: { a: 1 } }] },
          { role: "tool", content: [{ type: "tool-result", toolCallId: "call_1", toolName: "f", output: { type: "json", value: { ok: "好" } } }] },
        ],
        tools,
        temperature: 0,
        maxOutputTokens: 5,
        ...quiet,
      }),
    ),
  );
  await note(`${name} image`, async () => {
    const content = [{ type: "text", text: "?" }, { type: "image", image: PIXEL }];
    return (await generateText({ model, messages: [{ role: "user", content }], maxRetries: 0 })).text;
  });
  await note(`${name} too long`, async () =>
    (await generateText({ model, messages: [{ role: "user", content: "天".repeat(20000) }], maxRetries: 0 })).text,
  );
  await note(`${name} abort`, async () => {
    const controller = new AbortController();
    const result = streamText({ model, messages: [hello], temperature: 0, maxOutputTokens: 4000, abortSignal: controller.signal, ...quiet });
    let seen = 0;
    for await (const part of result.fullStream) {
      if (part.type === "text-delta" && ++seen === 3) controller.abort();
    }
    return seen;
  });
}

const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: "any", maxRetries: 0 });
const body = { model: "gpt-3.5-turbo", messages: [hello], temperature: 0, max_tokens: 12 };
const listed = [{ type: "function", function: { name: "f", parameters } }];
await note("node models", async () => (await client.models.list()).data.map((model) => model.id));
await note("node whole", async () => (await client.chat.completions.create(body)).choices[0].message.content);
await note("node text", async () => {
  const seen = { text: "", usage: null };
  for await (const chunk of await client.chat.completions.create({ ...body, stream: true, stream_options: { include_usage: true } })) {
    seen.text += chunk.choices[0]?.delta?.content ?? "";
    seen.usage = chunk.usage ?? seen.usage;
  }
  return seen;
});
await note("node helper", async () => (await client.chat.completions.stream({ ...body, stream: true }).finalChatCompletion()).choices[0].message.content);
await note("node tools", async () => {
  const other = new OpenAI({ baseURL: `${toolBase}/v1`, apiKey: "any", maxRetries: 0 });
  const whole = await other.chat.completions.create({ ...body, tools: listed });
  const streamed = await other.chat.completions.stream({ ...body, tools: listed, stream: true }).finalChatCompletion();
  return [whole, streamed].map(({ choices: [choice] }) => ({
    finish: choice.finish_reason,
    calls: choice.message.tool_calls.map((call) => ({ type: call.type, id: call.id, ...call.function })),
  }));
});
await note("node image", async () =>
  client.chat.completions.create({ ...body, messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: PIXEL } }] }] }),
);
await note("node abort", async () => {
  const stream = await client.chat.completions.create({ ...body, max_tokens: 4000, stream: true });
  let seen = 0;
  for await (const chunk of stream) if (chunk.choices.length && ++seen === 4) stream.controller.abort();
  return seen;
});

await note("node response", async () => (await client.responses.create({ model: "gpt-4o", input: "Hi", temperature: 0, max_output_tokens: 12 })).output_text);
await note("node response stream", async () => {
  let text = "";
  for await (const event of await client.responses.create({ model: "gpt-4o", input: "Hi", temperature: 0, max_output_tokens: 12, stream: true })) {
    if (event.type === "response.output_text.delta") text += event.delta;
  }
  return text;
});

const ollama = new Ollama({ host: base });
const asked = { model: "chatglm3-6b", messages: [hello], options: { temperature: 0, num_predict: 12 } };
await note("ollama list", async () => (await ollama.list()).models.map((model) => model.name));
await note("ollama whole", async () => (await ollama.chat(asked)).message.content);
await note("ollama text", async () => {
  let text = "";
  for await (const part of await ollama.chat({ ...asked, stream: true })) text += part.message.content;
  return text;
});
await note("ollama tools", async () => {
  const answer = await new Ollama({ host: toolBase }).chat({ ...asked, options: { temperature: 0 }, tools: listed });
  return answer.message.tool_calls.map((call) => call.function);
});
await note("ollama embed", async () => ollama.embed({ model: "chatglm3-6b", input: "Hi" }));

console.log(JSON.stringify(results));
