/** The same call as a program: Python, Node.js and curl, with the texts of this page in it. */

// JSON leaves these as they are; in code they would be invisible, or turn the reading order of what follows.
const UNSEEN = /[\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu;
const escaped = (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** A string literal: the escapes of JSON mean the same in Python and JavaScript, in double quotes. */
const literal = (text) => ({ literal: JSON.stringify(text).replace(UNSEEN, escaped) });
/** Inside a single-quoted word of a shell only the quote itself must not stand. */
const shellLiteral = (text) => ({ literal: literal(text).literal.replaceAll("'", "\\u0027") });

/** Join programs: a tagged template whose values are strings, literals, or lists of both. */
function code(strings, ...values) {
  return strings.flatMap((text, index) => [text, ...(index < values.length ? [values[index]].flat(9) : [])]);
}

/** A list of literals, one a line, `step` further in than the list; `comma` ends the last one too. */
function list(texts, indent, step, { write = literal, comma = "," } = {}) {
  const lines = texts.map(
    (text, index) => code`${indent}${step}${write(text)}${index < texts.length - 1 ? "," : comma}\n`,
  );
  return code`[\n${lines}${indent}]`;
}

function pythonLists({ queries, documents }) {
  return code`queries = ${list(queries, "", "    ")}\ndocuments = ${list(documents, "", "    ")}\n`;
}

/** me5's own client takes the key from the environment's ME5_API_KEY by itself. */
function pythonMe5({ state, base }) {
  const truncation = state.truncation ? `, truncation="${state.truncation}"` : "";
  const task = state.task ? code`, task=${literal(state.task)}` : "";
  return code`from me5 import Client

${pythonLists(state)}
with Client(${literal(base.href)}${truncation}) as client:
    left = client.encode_query(queries${task})
    right = client.encode_document(documents)
print((left @ right.T * 100).round(2))
`;
}

function pythonOpenAI({ state, model, base, keyed }) {
  const key = keyed ? `os.environ["ME5_API_KEY"]` : `"none"`;
  const truncation = state.truncation ? `, truncation="${state.truncation}"` : "";
  const task = state.task ? code`, task=${literal(state.task)}` : "";
  return code`${keyed ? "import os\n\n" : ""}import numpy as np
from openai import OpenAI

${pythonLists(state)}
client = OpenAI(base_url=${literal(new URL("v1", base).href)}, api_key=${key})


def embed(texts, **options):
    reply = client.embeddings.create(model=${literal(model)}, input=texts, extra_body=options)
    return np.array([item.embedding for item in reply.data])


left = embed(queries, side="query"${task}${truncation})
right = embed(documents, side="document"${truncation})
print((left @ right.T * 100).round(2))
`;
}

/** The fields of the request as names and code. */
function fieldsOf(state, indent, { write, comma }) {
  const lists = ["queries", "documents"].map((name) => [name, list(state[name], indent, "  ", { write, comma })]);
  const words = ["task", "truncation"].filter((name) => state[name]).map((name) => [name, write(state[name])]);
  return [...lists, ...words];
}

function node({ state, base, keyed }) {
  const key = keyed ? "    authorization: `Bearer ${process.env.ME5_API_KEY}`,\n" : "";
  const style = { write: literal, comma: "," };
  const fields = fieldsOf(state, "    ", style).map(([name, value]) => code`    ${name}: ${value},\n`);
  return code`const response = await fetch(${literal(new URL("v1/score", base).href)}, {
  method: "POST",
  headers: {
    "content-type": "application/json",
${key}  },
  body: JSON.stringify({
${fields}  }),
});
if (!response.ok) throw new Error(await response.text());
const { scores } = await response.json();
console.log(scores);
`;
}

function curl({ state, base, keyed }) {
  const key = keyed ? `  -H "authorization: Bearer $ME5_API_KEY" \\\n` : "";
  const style = { write: shellLiteral, comma: "" };
  const fields = fieldsOf(state, "  ", style).map(
    ([name, value], index, all) => code`  "${name}": ${value}${index < all.length - 1 ? "," : ""}\n`,
  );
  return code`curl ${{ literal: `'${new URL("v1/score", base).href}'` }} \\
  -H 'content-type: application/json' \\
${key}  -d '{
${fields}}'
`;
}

export const LANGUAGES = [
  { id: "python", name: "Python", write: pythonMe5 },
  { id: "openai", name: "Python, openai", write: pythonOpenAI },
  { id: "node", name: "Node.js", write: node },
  { id: "curl", name: "curl", write: curl },
];

/** Put a program into an element; each literal is isolated, so that right-to-left text leaves the code in order. */
export function showCode(target, parts) {
  target.replaceChildren(
    ...parts.map((part) => {
      if (typeof part === "string") return part;
      const isolated = document.createElement("bdi");
      isolated.textContent = part.literal;
      return isolated;
    }),
  );
}
