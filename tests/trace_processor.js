// The trace processor of the Perfetto viewer outside of its page: requests on standard input, answers
// on standard output, both as its own protocol has them. `node trace_processor.js FOLDER`, of the viewer.
"use strict";
function fail(error) {
  console.error(String(error).slice(0, 500)); // a trace would quote the whole program
  process.exit(1);
}
process.on("uncaughtException", fail);
process.on("unhandledRejection", fail);
const fs = require("fs");
const path = require("path");
const vm = require("vm");

const folder = process.argv[2];
const requests = new Uint8Array(fs.readFileSync(0));

function read(name) {
  return new Uint8Array(fs.readFileSync(path.join(folder, path.basename(String(name)))));
}

class Request {
  open(_, name) {
    this.name = name;
  }
  send() {
    this.status = 200;
    this.response = read(this.name).buffer;
    if (this.onload) this.onload();
  }
}

// What a worker has, and nothing of Node: the engine refuses to run where it was not built for.
const worker = {
  console: { log() {}, warn() {}, error() {} },
  fetch(name) {
    const headers = { "Content-Type": "application/wasm" };
    return Promise.resolve(new Response(read(name), { headers }));
  },
  XMLHttpRequest: Request,
  WorkerGlobalScope() {},
  importScripts() {},
  location: { href: "http://localhost/" },
  performance, setTimeout, clearTimeout, TextDecoder, TextEncoder, URL, crypto,
};
worker.self = worker;
vm.createContext(worker);
vm.runInContext(fs.readFileSync(path.join(folder, "engine_bundle.js"), "utf-8"), worker);

const port = {
  postMessage(data) {
    fs.writeSync(1, Buffer.from(data));
  },
};
worker.onmessage({ data: port });
const Bytes = vm.runInContext("Uint8Array", worker);

// The engine does not tell when it is ready; until then it has nothing to write into.
let tries = 0;
function ask() {
  try {
    port.onmessage({ data: new Bytes(requests) });
  } catch (error) {
    if (++tries > 2000) throw error;
    setTimeout(ask, 10);
  }
}
setTimeout(ask, 10);
