// What a JavaScript application does, told as JSON lines: `node client.mjs URL TASK`.
import OpenAI from "openai";

const [baseURL, task] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${baseURL}/v1`, apiKey: "k", maxRetries: 2 });
const image = (settings) => ({ type: "image_generation", ...settings });
const ask = (settings, more) =>
  client.responses.create({
    model: "gpt-5",
    input: "a cat",
    tools: [image(settings)],
    ...more,
  });
const tell = (value) => console.log(JSON.stringify(value));

const tasks = {
  async create() {
    const answer = await ask({ quality: "high" });
    const [item] = answer.output;
    tell({ type: item.type, size: item.size, bytes: item.result.length });
  },
  async stream() {
    for await (const event of await ask({}, { stream: true })) tell(event.type);
  },
  async refused() {
    try {
      await ask({ moderation: "low", unheard_of: 1 });
    } catch (error) {
      const { status, code, param } = error;
      tell({ name: error.constructor.name, status, code, param });
    }
  },
  async cut() {
    const metadata = { simulator: "echo.quality=high delay_ms=20" };
    try {
      for await (const event of await ask({}, { stream: true, metadata }))
        tell(event.type);
    } catch (error) {
      tell({ name: error.constructor.name, code: error.code });
    }
  },
  async left() {
    const metadata = { simulator: "delay_ms=50" };
    const stream = await ask({}, { stream: true, metadata });
    for await (const event of stream) {
      tell(event.type);
      stream.controller.abort();
      break;
    }
  },
  async background() {
    let answer = await ask({}, { background: true });
    while (["queued", "in_progress"].includes(answer.status))
      answer = await client.responses.retrieve(answer.id);
    tell(answer.status);
  },
  async models() {
    tell((await client.models.list()).data.length > 0);
  },
};

await tasks[task]();
