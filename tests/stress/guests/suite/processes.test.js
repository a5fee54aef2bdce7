// SPDX-License-Identifier: MIT
'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert');
const { execFileSync, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

describe('child processes', () => {
    it('gives back output', () => assert.strictEqual(execFileSync('/bin/echo', ['a b'], { encoding: 'utf8' }), 'a b\n'));
    it('gives back a status', () => assert.strictEqual(spawnSync('/bin/sh', ['-c', 'exit 7']).status, 7));
    it('gives back a signal', () => assert.strictEqual(spawnSync('/bin/sh', ['-c', 'kill -TERM $$']).signal, 'SIGTERM'));
});

describe('files', () => {
    it('reads what was written', async () => {
        const file = path.join(os.tmpdir(), `suite-${process.pid}`);
        await fs.promises.writeFile(file, 'x'.repeat(100000));
        assert.strictEqual((await fs.promises.stat(file)).size, 100000);
        await fs.promises.unlink(file);
    });
});
