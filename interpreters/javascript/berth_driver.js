// JavaScript and TypeScript for one session: V8's own REPL mode, as the developer tools use it, without a prompt.
//
// It knows what a REPL must: the value of the last expression, `await` at the top, `let` and `const` declared again.
// What it lacks is added here: `import`, which becomes a call of `import()`, and types, which are taken out.
//
//   guest -> driver   {"run": {"id": 1, "language": "javascript", "code": "1 + 1"}}, {"shown": 1}
//   driver -> guest   {"ready": {"version": "20.19.2"}} once, {"result": {...}}, {"end": {...}}
"use strict";

const childProcess = require("node:child_process");
const fs = require("node:fs");
const inspector = require("node:inspector");
const Module = require("node:module");
const net = require("node:net");
const path = require("node:path");
const stream = require("node:stream");
const url = require("node:url");
const util = require("node:util");
const vm = require("node:vm");

/** Longest representation that is sent, in characters; a longer one is cut. */
const TEXT_CHARS_MAX = 8 << 20;

/** Longest representation of another kind; a longer one is left out. */
const VALUE_CHARS_MAX = 8 << 20;

/** Longest text of an error, and of its stack. */
const ERROR_CHARS_MAX = 64 << 10;

/** What a value may define to be shown as more than text; other JavaScript notebooks know it by the same name. */
const DISPLAY = Symbol.for("Jupyter.display");

/** An output whose every write is done when it returns. Node's own falls behind a pipe that is read slowly. */
class Direct extends stream.Writable {
  constructor(fd) {
    super({ decodeStrings: true });
    this.fd = fd;
  }

  _write(chunk, _encoding, done) {
    for (let sent = 0; sent < chunk.length; ) {
      try {
        sent += fs.writeSync(this.fd, chunk, sent);
      } catch (error) {
        // A program that was started with this output may have made it one that does not wait.
        if (error.code !== "EAGAIN") return done(error);
        pause();
      }
    }
    done();
  }
}

for (const [name, fd] of [["stdout", 1], ["stderr", 2]]) {
  const output = new Direct(fd);
  Object.defineProperty(process, name, { get: () => output, configurable: true, enumerable: true });
}

const setImmediateKept = setImmediate;
const writeError = process.stderr.write.bind(process.stderr);

const sleeper = new Int32Array(new SharedArrayBuffer(4));

/** Waits a moment while nothing else runs. */
function pause() {
  Atomics.wait(sleeper, 0, 0, 0.2);
}

/** The two pipes to the guest. Reopened by name, so that programs which user code starts do not inherit them. */
class Channel {
  #requests = reopen("BERTH_REQUESTS", "r");
  #replies = reopen("BERTH_REPLIES", "w");
  #received = Buffer.alloc(0);

  /** Calls `take` with each frame. */
  listen(take) {
    const socket = new net.Socket({ fd: this.#requests, readable: true, writable: false });
    socket.on("data", (bytes) => {
      this.#received = Buffer.concat([this.#received, bytes]);
      for (let frame = this.#next(); frame !== undefined; frame = this.#next()) take(frame);
    });
    socket.on("close", () => process.reallyExit(0));
  }

  send(message) {
    const body = Buffer.from(JSON.stringify(message));
    const frame = Buffer.alloc(4 + body.length);
    frame.writeUInt32LE(body.length);
    body.copy(frame, 4);
    for (let sent = 0; sent < frame.length; ) sent += fs.writeSync(this.#replies, frame, sent);
  }

  /** Waits for the answer to a result while nothing else runs, so that what is printed next comes after it. */
  waitForShown(number) {
    const bytes = Buffer.alloc(4096);
    for (;;) {
      for (let frame = this.#next(); frame !== undefined; frame = this.#next()) {
        if (frame.shown === number) return;
      }
      try {
        const got = fs.readSync(this.#requests, bytes);
        if (got === 0) process.reallyExit(0);
        this.#received = Buffer.concat([this.#received, bytes.subarray(0, got)]);
      } catch (error) {
        if (error.code !== "EAGAIN") throw error;
        pause();
      }
    }
  }

  #next() {
    if (this.#received.length < 4) return undefined;
    const end = 4 + this.#received.readUInt32LE();
    if (this.#received.length < end) return undefined;
    const frame = JSON.parse(this.#received.toString("utf8", 4, end));
    this.#received = this.#received.subarray(end);
    return frame;
  }
}

function reopen(variable, flags) {
  const inherited = Number(process.env[variable]);
  delete process.env[variable];
  const fd = fs.openSync(`/proc/self/fd/${inherited}`, flags);
  fs.closeSync(inherited);
  return fd;
}

/** What `process.exit()` throws: it ends the cell, not the interpreter. */
class Exit {
  constructor(code) {
    this.code = code;
  }
}

/** What user code threw, which may be anything. */
class Thrown {
  constructor(value) {
    this.value = value;
  }
}

/** An interrupt from the guest. */
class KeyboardInterrupt extends Error {
  name = "KeyboardInterrupt";
}

class Driver {
  #channel = new Channel();
  #session = new inspector.Session();
  #count = 0;
  #shown = 0;
  /** The run that is under way: its id, and the way to end it. */
  #run = null;
  #require = null;

  start() {
    this.#session.connect();
    process.exit = (code = process.exitCode ?? 0) => {
      throw new Exit(Number(code));
    };
    process.on("SIGINT", () => this.#run?.fail(new KeyboardInterrupt("interrupted")));
    process.on("unhandledRejection", (reason) => this.#stray("Unhandled rejection", reason));
    process.on("uncaughtException", (error) => this.#stray("Uncaught exception", error));
    globalThis.display = (value) => this.#emit(bundleOf(displayed(value)), false);
    this.#resolveFromHere();
    this.#channel.listen((frame) => {
      if (frame.run) void this.#take(frame.run);
    });
    this.#channel.send({ ready: { version: process.versions.node } });
  }

  async #take({ id, language, code, timeout_ms: timeoutMs }) {
    this.#count += 1;
    const began = process.hrtime.bigint();
    const run = { id, fail: null, strays: [] };
    const stopped = new Promise((_, reject) => {
      run.fail = reject;
    });
    stopped.catch(() => {});
    this.#run = run;
    let error = null;
    try {
      this.#resolveFromHere();
      const source = language === "typescript" ? withoutTypes(code) : code;
      const value = await Promise.race([this.#evaluate(withoutImports(source), timeoutMs), stopped]);
      if (value !== undefined) this.#emit(bundleOf(value), true);
    } catch (thrown) {
      error = this.#failure(thrown instanceof Thrown ? thrown.value : thrown);
    }
    // Rejections that nobody handled are known when the queue has been emptied once.
    await new Promise((resolve) => setImmediateKept(resolve));
    error ??= run.strays[0] ?? null;
    this.#run = null;
    const seconds = Number(process.hrtime.bigint() - began) / 1e9;
    this.#channel.send({ end: { id, execution_count: this.#count, seconds, error } });
  }

  /**
   * Runs code as a REPL does. Resolves to the value of its last expression; throws what it throws.
   *
   * While code runs no signal is heard, so V8 itself ends an endless loop, just after the guest has sent one.
   */
  #evaluate(code, timeoutMs) {
    const expression = `${code}\n//# sourceURL=cell-${this.#count}`;
    const timeout = timeoutMs + 50;
    return new Promise((resolve, reject) => {
      this.#session.post("Runtime.evaluate", { expression, replMode: true, timeout }, (failed, answer) => {
        if (failed) return reject(new KeyboardInterrupt("interrupted"));
        const thrown = answer.exceptionDetails?.exception;
        if (thrown) this.#unwrap(thrown, (value) => reject(new Thrown(value)));
        else this.#unwrap(answer.result, resolve);
      });
    });
  }

  /** Gives `settle` the value itself, which the debugging protocol only describes. */
  #unwrap(remote, settle) {
    if (remote.objectId === undefined) return settle(plainValue(remote));
    const key = Symbol.for("berth.value");
    globalThis[key] = settle;
    this.#session.post("Runtime.callFunctionOn", {
      functionDeclaration: "function () { 'use strict'; globalThis[Symbol.for('berth.value')](this); }",
      objectId: remote.objectId,
    });
    this.#session.post("Runtime.releaseObject", { objectId: remote.objectId });
  }

  #emit(bundle, isMain) {
    if (this.#run === null) return;
    this.#shown += 1;
    this.#channel.send({ result: { id: this.#run.id, number: this.#shown, main: isMain, mime: bundle } });
    // Nothing is printed after the main result.
    if (!isMain) this.#channel.waitForShown(this.#shown);
  }

  /** Tells of an error that no code of the run was there to catch. */
  #stray(what, thrown) {
    const error = this.#failure(thrown, `${what}: `);
    if (error !== null) this.#run?.strays.push(error);
  }

  /** Prints an error as Node does and describes it. `null` for an end that is none. */
  #failure(thrown, before = "Uncaught ") {
    if (thrown instanceof Exit) {
      return thrown.code === 0 ? null : { name: "Exit", value: `exit code ${thrown.code}`, traceback: "" };
    }
    const error = describe(thrown);
    writeError(`${before}${error.traceback || `${error.name}: ${error.value}`}\n`);
    return error;
  }

  /** Lets `require` and `import` find what a file in the working directory would find. */
  #resolveFromHere() {
    const here = path.join(process.cwd(), "cell.js");
    if (this.#require?.here === here) return;
    const require = Module.createRequire(here);
    const isOwn = this.#require === null || globalThis.require === this.#require.require;
    if (isOwn) globalThis.require = require;
    this.#require = { here, require };
    const loader = new vm.Script("(name, options) => import(name, options)", {
      filename: here,
      importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    });
    const load = loader.runInThisContext();
    hide("berthImport", (name, options) =>
      load(typeof name === "string" && path.isAbsolute(name) ? url.pathToFileURL(name).href : name, options),
    );
    hide("__filename", here);
    hide("__dirname", process.cwd());
  }
}

/** A global that is not listed and that user code may replace. */
function hide(name, value) {
  Object.defineProperty(globalThis, name, { value, configurable: true, enumerable: false, writable: true });
}

/** Values that are no objects come as themselves or, where JSON has no word for them, as their text. */
function plainValue(remote) {
  if (remote.type === "undefined") return undefined;
  if (remote.unserializableValue !== undefined) {
    const text = remote.unserializableValue;
    return text.endsWith("n") ? BigInt(text.slice(0, -1)) : Number(text);
  }
  return remote.subtype === "null" ? null : remote.value;
}

/** What `display()` is given: a value, or at once its representations by MIME type. */
function displayed(value) {
  const names = value !== null && typeof value === "object" ? Object.keys(value) : [];
  const isBundle = names.length > 0 && names.every((name) => /^[a-z]+\/[a-z0-9.+-]+$/.test(name));
  return isBundle ? { [DISPLAY]: () => value } : value;
}

/** The representations of a value. */
function bundleOf(value) {
  let own = null;
  try {
    if (value !== null && typeof value === "object" && typeof value[DISPLAY] === "function") own = value[DISPLAY]();
  } catch {
    // A value that cannot show itself is shown as any other.
  }
  const bundle = {};
  for (const [mime, part] of Object.entries(own ?? {})) {
    const data = ArrayBuffer.isView(part) ? Buffer.from(part.buffer, part.byteOffset, part.byteLength).toString("base64") : part;
    const text = JSON.stringify(data);
    if (text !== undefined && text.length <= VALUE_CHARS_MAX) bundle[mime] = data;
  }
  if (Object.keys(bundle).length === 0) bundle["text/plain"] = cut(inspect(value), TEXT_CHARS_MAX);
  return bundle;
}

function inspect(value) {
  try {
    return util.inspect(value);
  } catch (error) {
    return `[no text: ${error?.constructor?.name} in its inspection]`;
  }
}

function describe(thrown) {
  if (!util.types.isNativeError(thrown)) return { name: "Error", value: cut(inspect(thrown), ERROR_CHARS_MAX), traceback: "" };
  const text = (read) => {
    try {
      return cut(String(read()), ERROR_CHARS_MAX);
    } catch {
      return "<no text>";
    }
  };
  const name = text(() => thrown.name);
  const value = text(() => thrown.message);
  const frames = text(() => thrown.stack ?? "").split("\n").filter((line) => /^ {4}at .*cell-\d+:/.test(line));
  return { name, value, traceback: [`${name}: ${value}`, ...frames].join("\n") };
}

function cut(text, max) {
  return text.length <= max ? text : `${text.slice(0, max)}\n[cut: ${text.length} characters]`;
}

/** Module syntax, which only files may hold, as what a REPL can run. */
function withoutImports(code) {
  if (!/\b(?:import|export)\b/.test(code)) return code;
  let tree;
  try {
    tree = acorn().parse(code, { ecmaVersion: "latest", sourceType: "module", allowAwaitOutsideFunction: true, allowHashBang: true });
  } catch {
    // V8 says what is wrong with it.
    return code;
  }
  const edits = [];
  for (const node of tree.body) {
    if (node.type === "ImportDeclaration") edits.push([node.start, node.end, loading(node)]);
    else if (node.type === "ExportNamedDeclaration" && node.declaration) edits.push([node.start, node.declaration.start, ""]);
    else if (node.type === "ExportDefaultDeclaration") edits.push([node.start, node.declaration.start, ""]);
  }
  visit(tree, (node) => {
    if (node.type === "ImportExpression") edits.push([node.start, node.start + "import".length, "berthImport"]);
  });
  edits.sort((left, right) => right[0] - left[0]);
  return edits.reduce((text, [start, end, instead]) => text.slice(0, start) + instead + text.slice(end), code);
}

function loading(node) {
  const source = `await berthImport(${node.source.raw})`;
  if (node.specifiers.length === 0) return `${source};`;
  const whole = node.specifiers.find((part) => part.type === "ImportNamespaceSpecifier");
  const parts = node.specifiers
    .filter((part) => part.type !== "ImportNamespaceSpecifier")
    .map((part) => {
      const name = part.type === "ImportDefaultSpecifier" ? "default" : (part.imported.name ?? part.imported.raw);
      return `${name}: ${part.local.name}`;
    });
  const declared = [];
  if (whole) declared.push(`const ${whole.local.name} = ${source};`);
  if (parts.length > 0) declared.push(`const { ${parts.join(", ")} } = ${whole ? whole.local.name : source};`);
  return declared.join(" ");
}

function visit(node, see) {
  if (node === null || typeof node !== "object") return;
  if (Array.isArray(node)) {
    for (const part of node) visit(part, see);
    return;
  }
  if (typeof node.type !== "string") return;
  see(node);
  for (const part of Object.values(node)) visit(part, see);
}

let parser = null;

/** Node's own parser: the one that its REPL uses. */
function acorn() {
  parser ??= require("internal/deps/acorn/acorn/dist/acorn");
  return parser;
}

/** TypeScript as JavaScript. Types are not checked. */
function withoutTypes(code) {
  const options = JSON.stringify({ compilerOptions: { verbatimModuleSyntax: true, target: "esnext" } });
  const done = childProcess.spawnSync(
    "/usr/bin/esbuild",
    ["--loader=ts", "--format=esm", "--target=esnext", "--log-limit=1", "--color=false", `--tsconfig-raw=${options}`],
    { input: code, encoding: "utf8", maxBuffer: 64 << 20, env: { PATH: process.env.PATH } },
  );
  if (done.error?.code === "ENOENT") throw new Error("no `esbuild` in this image; TypeScript needs it");
  if (done.error) throw done.error;
  if (done.status !== 0) {
    const [, message] = /\[ERROR\] (.*)/.exec(done.stderr) ?? [null, done.stderr.trim()];
    const [, line] = /<stdin>:(\d+):/.exec(done.stderr) ?? [null, "?"];
    throw new SyntaxError(`${message} (line ${line})`);
  }
  return done.stdout;
}

new Driver().start();
