// The page: a photo, clicks, the mask over it.
import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs";
import { Session, loadNetwork } from "./session.js";

ort.env.wasm.wasmPaths = new URL("./node_modules/onnxruntime-web/dist/", import.meta.url).href;
ort.env.wasm.numThreads = 1; // more need headers that http.server does not send

const canvas = document.getElementById("canvas");
const status = document.getElementById("status");
const undo = document.getElementById("undo");
let network = null;
let photo = null; // ImageData
let session = null;
let busy = Promise.resolve(); // one thing at a time, in order

function say(text) {
  status.textContent = text;
}

function begin() {
  if (!photo) return say(network ? "Open a photo." : "Open a model and a photo.");
  session = network ? new Session(network, photo.data, photo.height, photo.width) : null;
  draw();
  say(network ? "Click on an object." : "Open a model.");
}

async function takeModel(bytes) {
  try {
    network = await loadNetwork(ort, bytes);
    begin();
  } catch (error) {
    say(`This is no model of mfpgan (${error.message}); make one with mfpgan export.`);
  }
}

async function takePhoto(blob) {
  try {
    const picture = await createImageBitmap(blob);
    [canvas.width, canvas.height] = [picture.width, picture.height];
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "white"; // as mfpgan lays transparency on
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(picture, 0, 0);
    photo = context.getImageData(0, 0, picture.width, picture.height);
    begin();
  } catch {
    say("This photo cannot be read; open a JPEG, PNG or WebP.");
  }
}

function draw() {
  const shown = new ImageData(new Uint8ClampedArray(photo.data), photo.width, photo.height);
  const mask = session?.mask();
  if (mask) {
    for (let i = 0; i < mask.length; i++) {
      if (!mask[i]) continue;
      [86, 180, 233].forEach((value, channel) => {
        shown.data[4 * i + channel] = (shown.data[4 * i + channel] + value) / 2;
      });
    }
  }
  const context = canvas.getContext("2d");
  context.putImageData(shown, 0, 0);
  const radius = Math.max(4, canvas.width / 120);
  for (const { y, x, positive } of session?.clicks ?? []) {
    context.beginPath();
    context.arc(x + 0.5, y + 0.5, radius, 0, 2 * Math.PI);
    context.fillStyle = positive ? "#0a0" : "#c00";
    context.fill();
    context.strokeStyle = "#fff";
    context.stroke();
  }
  undo.disabled = !session?.clicks.length;
}

function act(work) {
  busy = busy.then(async () => {
    if (!session) return;
    const start = performance.now();
    await work(session);
    draw();
    say(`${session.clicks.length} click(s), ${Math.round(performance.now() - start)} ms`);
  }).catch((error) => say(`The network did not answer (${error.message}); open the photo again.`));
  return busy;
}

function clicked(event, positive) {
  event.preventDefault();
  const box = canvas.getBoundingClientRect();
  const place = (offset, side, length) => Math.min(Math.max(Math.floor((offset / side) * length), 0), length - 1);
  const y = place(event.clientY - box.top - canvas.clientTop, canvas.clientHeight, canvas.height);
  const x = place(event.clientX - box.left - canvas.clientLeft, canvas.clientWidth, canvas.width);
  act((one) => one.click(y, x, positive));
}

canvas.addEventListener("click", (event) => clicked(event, !event.altKey));
canvas.addEventListener("contextmenu", (event) => clicked(event, false));
undo.addEventListener("click", () => act((one) => one.undo()));
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "z") {
    event.preventDefault();
    act((one) => one.undo());
  }
});
document.getElementById("model").addEventListener("change", async (event) => {
  if (event.target.files[0]) takeModel(new Uint8Array(await event.target.files[0].arrayBuffer()));
});
document.getElementById("photo").addEventListener("change", (event) => {
  if (event.target.files[0]) takePhoto(event.target.files[0]);
});

const beside = await fetch("model.onnx");
if (beside.ok) await takeModel(new Uint8Array(await beside.arrayBuffer()));
else say("Open a model (there is no model.onnx beside this page) and a photo.");
