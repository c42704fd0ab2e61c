// Mouse, pen, fingers and keys on the photo.

const STILL = 5; // screen pixels that a click may shake

// `did.click(point, positive)`, where positive is null for "as the page is set".
export function listen(stage, did) {
  const element = stage.stage;
  const down = new Map(); // pointers that touch, by id: where they are, where they were first
  let pinch = null, moved = false, space = false;

  const middle = () => {
    const [a, b] = [...down.values()];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, apart: Math.hypot(a.x - b.x, a.y - b.y) };
  };

  element.addEventListener("pointerdown", (event) => {
    if (!stage.size) return;
    if (event.button === 1) event.preventDefault(); // or the browser begins to scroll by itself
    element.setPointerCapture(event.pointerId);
    if (!down.size) moved = false;
    down.set(event.pointerId, { x: event.clientX, y: event.clientY, first: { x: event.clientX, y: event.clientY } });
    if (down.size === 2) {
      pinch = middle();
      moved = true; // two fingers never click
    }
    stage.cross = null;
  });

  element.addEventListener("pointermove", (event) => {
    const pointer = down.get(event.pointerId);
    if (!pointer) return;
    const right = event.clientX - pointer.x, below = event.clientY - pointer.y;
    if (!moved && Math.hypot(event.clientX - pointer.first.x, event.clientY - pointer.first.y) > STILL) {
      moved = true;
      element.classList.add("moving");
      stage.move(event.clientX - pointer.first.x - right, event.clientY - pointer.first.y - below);
    }
    pointer.x = event.clientX;
    pointer.y = event.clientY;
    if (down.size === 2) {
      const now = middle();
      stage.zoom(now.apart / Math.max(pinch.apart, 1), now);
      stage.move(now.x - pinch.x, now.y - pinch.y);
      pinch = now;
    } else if (moved) stage.move(right, below);
  });

  const up = (event, counts) => {
    const pointer = down.get(event.pointerId);
    if (!pointer) return;
    down.delete(event.pointerId);
    if (down.size) return;
    element.classList.remove("moving");
    if (!counts || moved || space || event.button === 1) return;
    const removes = event.button === 2 || event.altKey || event.ctrlKey; // with Ctrl a Mac means the right button
    if (event.button === 0 || removes) did.click(pointer.first, removes ? false : null);
  };
  element.addEventListener("pointerup", (event) => up(event, true));
  element.addEventListener("pointercancel", (event) => up(event, false));
  element.addEventListener("contextmenu", (event) => stage.size && event.preventDefault());
  element.addEventListener("wheel", (event) => {
    if (!stage.size) return;
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    stage.zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0016)), { x: event.clientX, y: event.clientY });
  }, { passive: false });

  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  element.addEventListener("keydown", (event) => {
    if (!stage.size || event.ctrlKey || event.metaKey || event.altKey) return;
    const keys = {
      Enter: () => did.cross(!event.shiftKey), Delete: () => did.cross(false), Backspace: () => did.cross(false),
      "+": () => stage.zoom(1.25), "=": () => stage.zoom(1.25), "-": () => stage.zoom(0.8), 0: () => stage.fit(),
      n: did.newObject, N: did.newObject, "?": did.help, " ": () => (space = true),
    };
    if (arrows[event.key]) stage.step(...arrows[event.key], event.shiftKey);
    else if (keys[event.key]) keys[event.key]();
    else return;
    event.preventDefault();
  });
  element.addEventListener("keyup", (event) => event.key === " " && (space = false));
  element.addEventListener("blur", () => (space = false));
  element.addEventListener("focus", () => {
    if (element.matches(":focus-visible")) stage.step(0, 0, true); // came by key: show where it would click
  });

  document.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.altKey || document.querySelector("dialog[open]")) return;
    const key = event.key.toLowerCase();
    if (key === "z") did[event.shiftKey ? "redo" : "undo"]();
    else if (key === "y") did.redo();
    else return;
    event.preventDefault();
  });
}

// Photos that are dropped or pasted anywhere.
export function receive(take) {
  const files = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    document.body.classList.add("drop");
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("drop"));
  document.addEventListener("drop", (event) => {
    document.body.classList.remove("drop");
    if (!files(event)) return;
    event.preventDefault();
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (file) take(file);
  });
}
