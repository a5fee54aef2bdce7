// SPDX-License-Identifier: MIT
'use strict';
const test = require('node:test');
const assert = require('node:assert');

test('a sorted list stays sorted', () => {
    const list = Array.from({ length: 2000 }, (_, i) => (i * 7919) % 2003).sort((a, b) => a - b);
    for (let i = 1; i < list.length; i++) assert.ok(list[i - 1] <= list[i]);
});

test('groups', async (t) => {
    await t.test('by remainder', () => {
        const groups = [[], [], []];
        for (let i = 0; i < 30; i++) groups[i % 3].push(i);
        assert.deepStrictEqual(groups.map((g) => g.length), [10, 10, 10]);
    });
    await t.test('what throws', () => assert.throws(() => JSON.parse('{'), SyntaxError));
});

test('promises settle in order', async () => {
    const seen = [];
    await Promise.all([3, 1, 2].map((n) => new Promise((done) => setTimeout(() => { seen.push(n); done(); }, n * 40))));
    assert.deepStrictEqual(seen, [1, 2, 3]);
});

test('left out', { skip: true }, () => assert.fail());
