// The page of `mfpgan demo`. What is on the screen follows from the server's last answer and from `page`.

import { Over, Session, start } from "./api.js";
import { listen, receive } from "./hands.js";
import { labelsOf, paintHeat, paintMasks, paintProbability } from "./paint.js";
import { Stage } from "./stage.js";

const element = (id) => document.getElementById(id);
const all = (selector) => document.querySelectorAll(selector);
const stage = new Stage();
const page = {
  session: null, state: null, labels: null, plane: null, waiting: [],
  models: [], model: "", colours: [[86, 180, 233]], view: "mask", opacity: 0.5, adds: true,
  example: 0, examples: 1, name: "photo", // of the downloads
};

// Everything that asks the server waits for its turn, so that answers come in the order of the clicks.
let turn = Promise.resolve();
let running = 0;
function inTurn(work) {
  running++;
  const late = setTimeout(() => (element("busy").hidden = false), 200);
  const done = turn.then(work).then(() => true, (error) => (fail(error), false)).finally(() => {
    clearTimeout(late);
    if (!--running) element("busy").hidden = true;
  });
  turn = done;
  return done;
}

function fail(error) {
  page.waiting = [];
  if (error instanceof Over) {
    page.session = page.state = null;
    stage.close();
    draw();
  } else stage.show(page.state?.clicks ?? []);
  element("error").firstElementChild.textContent = error.message;
  element("error").hidden = false;
}

const tell = (text) => (element("said").textContent = text);
const forgetError = () => (element("error").hidden = true);

async function joined() {
  page.session ??= await Session.join(page.model);
  return page.session;
}

function open(send, name) {
  return inTurn(async () => {
    const session = await joined();
    const state = await send(session);
    page.name = name;
    await stage.open(`${session.path("photo")}?${state.photo}`, state);
    await take(state);
    tell(`Photo of ${state.width} by ${state.height} pixels.`);
    element("stage").focus({ preventScroll: true });
  });
}

const openFile = (file) => open((session) => session.send("photo", file), file.name.replace(/\.[^.]*$/, "") || "photo");

function openExample() {
  const number = page.example++ % page.examples;
  return open((session) => session.act("example", { number }), `example-${number + 1}`);
}

async function take(state) {
  forgetError();
  page.state = state;
  page.labels = labelsOf(state.runs, stage.layer.width * stage.layer.height);
  page.waiting = page.waiting.filter((click) => click.pending);
  await look();
}

// What the present view shows, fetched if it is not the mask.
async function look() {
  page.plane = page.view === "mask" || !page.state ? null : await page.session.plane(page.view);
  draw();
}

const act = (what, values) => page.state && inTurn(async () => {
  if (page.session) await take(await page.session.act(what, values)); // what waited while the session ended has nothing to do
});

function click(at, positive) {
  if (!page.state || !at) return;
  const begin = performance.now();
  const waits = [at.y, at.x, positive ? 1 : 0];
  waits.pending = true;
  page.waiting.push(waits);
  stage.show(page.state.clicks, page.waiting);
  inTurn(async () => {
    if (!page.session || !page.state) return;
    const state = await page.session.act("click", { y: at.y, x: at.x, positive });
    waits.pending = false;
    await take(state);
    const trip = performance.now() - begin;
    element("network").textContent = milliseconds(state.network_ms);
    element("trip").textContent = milliseconds(trip);
    tell(`${positive ? "Added" : "Removed"}. Object ${state.number}: ${sizeOf(state.objects[state.number - 1])}.`);
  });
}

const milliseconds = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
const sizeOf = ({ pixels }) => {
  const percent = (100 * pixels) / (page.state.width * page.state.height);
  return pixels === 0 ? "empty" : `${percent < 10 ? percent.toFixed(1) : Math.round(percent)} %`;
};

function draw() {
  const state = page.state;
  if (state) {
    const how = { colours: page.colours, opacity: page.opacity, selected: state.number };
    stage.paint(page.view !== "mask", (pixels, width) => {
      if (page.view === "probability") paintProbability(pixels, page.plane.values, width, how);
      else if (page.view === "heat") paintHeat(pixels, page.plane.values, page.labels, width, how);
      else paintMasks(pixels, page.labels, width, how);
    });
    stage.show(state.clicks, page.waiting);
    element("size").textContent = sizeOf(state.objects[state.number - 1]) + (state.objects[state.number - 1].pixels ? " of the photo" : "");
  }
  element("stage").tabIndex = state ? 0 : -1;
  element("empty").hidden = Boolean(state);
  element("tools").hidden = !state;
  element("hint").hidden = !state || state.objects.length > 1 || state.can_undo || state.can_redo || state.objects[0].pixels > 0;
  element("undo").disabled = !state?.can_undo;
  element("redo").disabled = !state?.can_redo;
  element("reset").disabled = !state || !(state.can_undo || state.can_redo);
  for (const name of ["new-object", "from-mask"]) element(name).disabled = !state;
  for (const button of all("[data-file]")) button.disabled = !state;
  drawObjects();
  drawViews();
}

function drawObjects() {
  const list = element("objects");
  const rows = (page.state?.objects ?? []).map((object, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.number = index + 1;
    button.setAttribute("aria-pressed", index + 1 === page.state.number);
    const swatch = document.createElement("i");
    swatch.style.background = `rgb(${page.colours[index % page.colours.length]})`;
    const text = document.createElement("span");
    text.textContent = `Object ${index + 1}`;
    const size = document.createElement("small");
    size.textContent = `${object.clicks} ${object.clicks === 1 ? "click" : "clicks"}, ${sizeOf(object)}`;
    button.append(swatch, text, size);
    const row = document.createElement("li");
    row.append(button);
    return row;
  });
  if (!rows.length) {
    const row = document.createElement("li");
    row.append(Object.assign(document.createElement("p"), { textContent: "None yet." }));
    rows.push(row);
  }
  const focused = document.activeElement?.dataset?.number;
  list.replaceChildren(...rows);
  if (focused) list.querySelector(`[data-number="${focused}"]`)?.focus();
  list.querySelector('[aria-pressed="true"]')?.scrollIntoView({ block: "nearest" });
}

const present = () => page.models.find((one) => one.key === page.model);

function drawViews() {
  for (const button of all("[data-view]")) {
    button.setAttribute("aria-pressed", button.dataset.view === page.view);
    if (button.dataset.view !== "heat") continue;
    button.disabled = !present()?.heat;
    button.title = present()?.heat ? "Where the discriminator dislikes the mask" : "Only for runs with a discriminator";
  }
  const legend = element("legend");
  legend.hidden = !page.state || page.view === "mask";
  legend.className = page.view;
  const [low, high] = page.view === "heat" ? [`drawn ${page.plane?.high ?? ""}`, `disliked ${page.plane?.low ?? ""}`] : ["0", "1"];
  legend.firstElementChild.textContent = low;
  legend.lastElementChild.textContent = high;
}

function setSign(adds) {
  page.adds = adds;
  element("adds").setAttribute("aria-pressed", adds);
  element("removes").setAttribute("aria-pressed", !adds);
}

function setView(view) {
  const before = page.view;
  inTurn(async () => {
    page.view = view;
    try {
      await look();
      forgetError();
    } catch (error) {
      page.view = before;
      await look();
      throw error;
    }
  });
}

async function changeModel(key) {
  const done = await inTurn(async () => {
    const state = await page.session?.act("model", { key });
    page.model = key;
    if (page.view === "heat" && !present().heat) page.view = "mask";
    if (page.state) await take(state);
    tell("The same clicks, answered by another model.");
  });
  if (!done) element("model").value = page.model;
  draw();
}

function save(name) {
  inTurn(async () => {
    if (!page.session) return;
    const blob = await page.session.file(name === "overlay.png" ? `${name}?opacity=${page.opacity}` : name);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${page.name}-${name}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    forgetError();
    tell(`Saved ${link.download}.`);
  });
}

const chosen = (id, then) => {
  element(id).addEventListener("change", (event) => {
    if (event.target.files[0]) then(event.target.files[0]);
    event.target.value = ""; // so that the same file can be chosen again
  });
};

const clicked = (id, then) => element(id).addEventListener("click", then);
for (const id of ["open", "open-2"]) clicked(id, () => element("photo-file").click());
for (const id of ["example", "example-2"]) clicked(id, openExample);
clicked("help", () => element("help-text").showModal());
clicked("undo", () => act("undo"));
clicked("redo", () => act("redo"));
clicked("reset", () => act("reset"));
clicked("new-object", () => act("object"));
clicked("from-mask", () => element("mask-file").click());
clicked("fit", () => stage.fit());
clicked("zoom-in", () => stage.zoom(1.4));
clicked("zoom-out", () => stage.zoom(1 / 1.4));
clicked("adds", () => setSign(true));
clicked("removes", () => setSign(false));
element("error").lastElementChild.addEventListener("click", forgetError);
chosen("photo-file", openFile);
chosen("mask-file", (file) => inTurn(async () => {
  if (page.session) await take(await page.session.send("mask", file));
}));
element("model").addEventListener("change", (event) => changeModel(event.target.value));
element("objects").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) act("select", { number: Number(button.dataset.number) });
});
for (const button of all("[data-view]")) button.addEventListener("click", () => setView(button.dataset.view));
for (const button of all("[data-file]")) button.addEventListener("click", () => save(button.dataset.file));
element("opacity").addEventListener("input", (event) => {
  page.opacity = event.target.value / 100;
  event.target.nextElementSibling.textContent = `${event.target.value} %`;
  draw();
});
receive(openFile);
listen(stage, {
  click: (point, positive) => click(stage.pixel(point), positive ?? page.adds),
  cross: (positive) => {
    if (!stage.cross) stage.step(0, 0, true);
    click(stage.cross, positive);
  },
  undo: () => act("undo"),
  redo: () => act("redo"),
  newObject: () => act("object"),
  help: () => element("help-text").showModal(),
});
addEventListener("pagehide", () => page.session?.leave());

inTurn(async () => {
  const { models, first, examples, colours } = await start();
  Object.assign(page, { models, examples, colours, model: first });
  element("model").replaceChildren(...models.map(({ key, text }) => new Option(text, key, key === first, key === first)));
  element("model").disabled = false;
  draw();
});
