// Everything that the test asks of ImapFlow, in one session after another; prints one JSON object.
// usage: node client.js HOST PORT CA USER PASSWORD secure|starttls
// Lines on standard input say that what was asked for on standard output has happened: "deliver".
"use strict";
const assert = require("assert");
const fs = require("fs");
const readline = require("readline");
const { ImapFlow } = require("imapflow");

const [host, port, ca, user, pass, how] = process.argv.slice(2);
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

function connection(options) {
    return new ImapFlow({
        host, port: Number(port), secure: how === "secure", auth: { user, pass }, logger: false, disableAutoIdle: true,
        tls: { ca: fs.readFileSync(ca), servername: "localhost" }, ...options,
    });
}

async function ask(what) {
    console.log(JSON.stringify({ ask: what }));
    return (await lines.next()).value;
}

function event(client, name) {
    return new Promise((resolve) => client.once(name, resolve));
}

async function collect(iterator) {
    const all = [];
    for await (const message of iterator) all.push(message);
    return all;
}

async function files(client) {
    const names = (await client.list()).map((box) => [box.path, box.specialUse || ""]);
    await client.mailboxCreate("Flow/Inner");
    await client.mailboxRename("Flow/Inner", "Flow/Other");
    await client.mailboxSubscribe("Flow/Other");
    const appended = await client.append("INBOX", Buffer.from("Subject: four\r\n\r\nappended\r\n"), ["\\Flagged"], new Date(86400000));
    assert.equal(appended.uid, 4);
    const status = await client.status("INBOX", { messages: true, uidNext: true, unseen: true, highestModseq: true });
    assert.equal(status.messages, 4);
    assert.equal(status.uidNext, 5);
    return names;
}

async function works(client) {
    const lock = await client.getMailboxLock("INBOX");
    try {
        const all = await collect(client.fetch("1:*", { uid: true, flags: true, envelope: true, bodyStructure: true, source: true,
            internalDate: true, size: true }));
        assert.equal(all.length, 4);
        assert.deepEqual(await client.search({ subject: "two" }, { uid: true }), [2]);
        assert.deepEqual(await client.search({ or: [{ subject: "one" }, { flagged: true }] }, { uid: true }), [1, 4]);
        assert.ok(await client.messageFlagsAdd("1", ["\\Seen", "$Work"], { uid: true }));
        assert.ok(await client.messageFlagsSet("2", ["\\Answered"], { uid: true }));
        assert.ok(await client.messageFlagsRemove("4", ["\\Flagged"], { uid: true }));
        const copied = await client.messageCopy("1", "Flow/Other", { uid: true });
        assert.deepEqual([...copied.uidMap], [[1, 1]]);
        const moved = await client.messageMove("2", "Archive", { uid: true });
        assert.deepEqual([...moved.uidMap], [[2, 1]]);
        assert.ok(await client.messageDelete("3", { uid: true }));
        const { content, meta } = await client.download("4", "TEXT", { uid: true });
        let text = "";
        for await (const chunk of content) text += chunk;
        assert.equal(text, "appended\r\n");
        return all.map((m) => [m.uid, m.envelope.subject, m.bodyStructure.type, m.size, m.source.toString("latin1")]);
    } finally {
        lock.release();
    }
}

async function idles(client) {
    const lock = await client.getMailboxLock("INBOX");
    try {
        const idle = client.idle();
        const exists = event(client, "exists");
        await ask("deliver");
        const start = Date.now();
        const { count, prevCount } = await exists;
        assert.equal(count, prevCount + 1);
        const flags = event(client, "flags");
        await ask("flag");
        const changed = await flags;
        const expunge = event(client, "expunge");
        await ask("expunge");
        await expunge;
        await client.noop();
        await idle;
        return [count, [...changed.flags].sort(), Date.now() - start];
    } finally {
        lock.release();
    }
}

// CONDSTORE, then QRESYNC: what changed while nobody looked.
async function comesBack(before) {
    let client = connection();
    await client.connect();
    await client.mailboxOpen("INBOX");
    const modseq = client.mailbox.highestModseq;
    const validity = client.mailbox.uidValidity;
    await client.logout();
    await ask("change");
    client = connection();
    await client.connect();
    assert.ok(client.enabled.has("CONDSTORE") || client.capabilities.has("CONDSTORE"));
    await client.mailboxOpen("INBOX");
    const changed = await collect(client.fetch("1:*", { uid: true, flags: true }, { changedSince: modseq }));
    assert.ok(client.mailbox.highestModseq > modseq);
    await client.logout();
    client = connection({ qresync: true });
    await client.connect();
    assert.ok(client.enabled.has("QRESYNC"), "QRESYNC is enabled");
    const gone = [];
    client.on("expunge", (what) => gone.push([what.uid, what.vanished, what.earlier]));
    await client.mailboxOpen("INBOX", { uidValidity: validity });
    await collect(client.fetch("1:*", { uid: true, flags: true }, { uid: true, changedSince: modseq }));
    await client.logout();
    return { changed: changed.map((m) => [m.uid, [...m.flags].sort(), m.modseq > modseq]), gone };
}

async function main() {
    const client = connection();
    await client.connect();
    const told = { names: await files(client), messages: await works(client), idle: await idles(client) };
    await client.logout();
    told.back = await comesBack();
    console.log(JSON.stringify(told));
}

main().then(() => process.exit(0), (error) => {
    console.error(error);
    process.exit(1);
});
