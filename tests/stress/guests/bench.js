// Work that V8's compilers specialise, deoptimize and specialise again; prints sums only.
// SPDX-License-Identifier: MIT
'use strict';
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const crypto = require('crypto');
const zlib = require('zlib');

const scale = Number(process.env.SCALE || 1);

function random(seed) {
    let state = seed >>> 0;
    return () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return state;
    };
}

function sieve(limit) {
    const composite = new Uint8Array(limit);
    let count = 0;
    for (let i = 2; i < limit; i++) {
        if (composite[i]) continue;
        count++;
        for (let j = i * i; j < limit; j += i) composite[j] = 1;
    }
    return count;
}

function matrix(n) {
    const a = new Float64Array(n * n).map((_, i) => (i % 7) / 3);
    const b = new Float64Array(n * n).map((_, i) => (i % 5) / 2);
    let trace = 0;
    for (let i = 0; i < n; i++)
        for (let j = 0; j < n; j++) {
            let sum = 0;
            for (let k = 0; k < n; k++) sum += a[i * n + k] * b[k * n + j];
            if (i === j) trace += sum;
        }
    return trace.toFixed(6);
}

class Shape { area() { return 0; } }
class Square extends Shape { constructor(s) { super(); this.s = s; } area() { return this.s * this.s; } }
class Disc extends Shape { constructor(r) { super(); this.r = r; } area() { return 3 * this.r * this.r; } }
class Slab extends Shape { constructor(w, h) { super(); this.w = w; this.h = h; } area() { return this.w * this.h; } }

// Warm with one class, then others: inline caches change from one form to the next.
function shapes(n) {
    const next = random(7);
    let total = 0;
    const make = [(x) => new Square(x), (x) => new Disc(x), (x) => new Slab(x, 2)];
    for (let phase = 1; phase <= 3; phase++)
        for (let i = 0; i < n; i++) total += make[next() % phase](i & 15).area();
    return total;
}

// Small integers, then doubles, then strings: the compiled code is thrown away each time.
function deoptimizes(n) {
    const add = (a, b) => a + b;
    let x = 0;
    for (let i = 0; i < n; i++) x = add(x, i) | 0;
    let y = 0.5;
    for (let i = 0; i < n; i++) y = add(y, 0.25);
    let z = '';
    for (let i = 0; i < n / 100; i++) z = add(z, i % 10);
    return `${x} ${y} ${z.length}`;
}

function catches(n) {
    let caught = 0;
    const deep = (k) => { if (k === 0) throw new RangeError('deep'); return deep(k - 1) + 1; };
    for (let i = 0; i < n; i++) {
        try { deep(i & 15); } catch (error) { if (error instanceof RangeError) caught++; }
    }
    try { (function forever() { return forever() + 1; })(); } catch (error) { caught += 1000000; }
    return caught;
}

function words(n) {
    const next = random(11);
    const counts = new Map();
    let text = '';
    for (let i = 0; i < n; i++) text += 'w' + (next() >>> 16) % 97 + (i % 13 ? ' ' : '\n');
    for (const [, word] of text.matchAll(/(w\d+)\s/g)) counts.set(word, (counts.get(word) || 0) + 1);
    const sorted = [...counts].sort((p, q) => q[1] - p[1] || (p[0] < q[0] ? -1 : 1));
    return JSON.stringify(JSON.parse(JSON.stringify(sorted.slice(0, 3))));
}

function* numbers(n) { for (let i = 0; i < n; i++) yield BigInt(i) ** 3n; }

function big(n) {
    let sum = 0n;
    for (const value of numbers(n)) sum += value;
    return sum.toString();
}

// (func (export "f") (param i32) (result i32) (local i32) …): adds n..1 in a loop.
function wasm(n) {
    const body = [1, 1, 0x7f, 3, 0x40, 0x20, 1, 0x20, 0, 0x6a, 0x21, 1, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0,
        0x0b, 0x20, 1, 0x0b];
    const code = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f, 3, 2, 1, 0, 7, 5, 1, 1, 0x66, 0, 0,
        10, body.length + 2, 1, body.length, ...body];
    const { f } = new WebAssembly.Instance(new WebAssembly.Module(Uint8Array.from(code))).exports;
    let sum = 0;
    for (let i = 0; i < 50; i++) sum = (sum + f(n)) | 0;
    return sum;
}

function makes_code(n) {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += new Function('x', `return x * ${i} + ${i % 3};`)(i);
    return sum;
}

async function timers(n) {
    let order = 0;
    for (let i = 0; i < n; i++) {
        await new Promise((done) => setTimeout(done, 1));
        order = order * 3 + i & 0xffff;
    }
    return order;
}

function in_workers() {
    const parts = [0, 1].map((id) => new Promise((done, failed) => {
        const worker = new Worker(__filename, { workerData: id });
        worker.on('message', done);
        worker.on('error', failed);
    }));
    return Promise.all(parts);
}

async function main() {
    console.log('sieve', sieve(1000000 * scale));
    console.log('matrix', matrix(120));
    console.log('shapes', shapes(200000 * scale));
    console.log('deoptimizes', deoptimizes(300000 * scale));
    console.log('catches', catches(5000 * scale));
    console.log('words', words(20000 * scale));
    console.log('big', big(20000 * scale));
    console.log('wasm', wasm(20000 * scale));
    console.log('makes code', makes_code(300));
    console.log('sha', crypto.createHash('sha256').update(Buffer.alloc(1000000, 'x')).digest('hex'));
    console.log('deflate', zlib.inflateSync(zlib.deflateSync(Buffer.alloc(300000, 'abcdefg'))).length);
    console.log('timers', await timers(20));
    console.log('workers', (await in_workers()).join(' '));
}

if (isMainThread) main();
else parentPort.postMessage(sieve(200000 + workerData) + deoptimizes(50000));
