// What the page asks of its server. Whatever goes wrong is an Error whose message is one sentence for people.

export class Over extends Error {} // the server knows this session no longer

async function fetched(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer; is mfpgan demo still running?");
  }
  if (response.ok) return response;
  let sentence = "The server failed at this; what happened stands in its terminal.";
  try {
    sentence = (await response.json()).error;
  } catch { /* not from our server: keep the sentence */ }
  sentence = sentence[0].toUpperCase() + sentence.slice(1);
  throw response.status === 410 ? new Over(sentence) : new Error(sentence);
}

const posted = (path, values) =>
  fetched(path, { method: "POST", body: JSON.stringify(values), headers: { "content-type": "application/json" } });

export const start = async () => (await fetched("/api/start")).json();

// One tab's session.
export class Session {
  static async join(key) {
    const session = new Session();
    session.name = (await (await posted("/api/sessions", { key })).json()).name;
    return session;
  }

  path(what) {
    return `/api/sessions/${this.name}/${what}`;
  }

  async act(what, values = {}) {
    return (await posted(this.path(what), values)).json();
  }

  async send(what, file) {
    if (file.size > 32 * 2 ** 20) throw new Error(`This file has ${Math.ceil(file.size / 2 ** 20)} MiB, at most 32 MiB are read; save it smaller.`);
    return (await fetched(this.path(what), { method: "POST", body: file })).json();
  }

  async plane(what) {
    const response = await fetched(this.path(what));
    return { values: new Uint8Array(await response.arrayBuffer()), low: response.headers.get("x-low"), high: response.headers.get("x-high") };
  }

  async file(what) {
    return (await fetched(this.path(what))).blob();
  }

  leave() {
    navigator.sendBeacon(this.path("leave"));
  }
}
