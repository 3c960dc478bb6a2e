#include "store/index.h"

#include <assert.h>
#include <sqlite3.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

/* Rows whose newest record lies in a segment are found without an index on rec_seq for the common case, in
 * which the newest record is the one that made the message: then rec_seq equals the message's id. */
static const char schema[] =
    "CREATE TABLE meta(key INTEGER PRIMARY KEY, value INTEGER NOT NULL);"
    "CREATE TABLE message(id INTEGER PRIMARY KEY, rec_seq INTEGER NOT NULL, segment INTEGER NOT NULL,"
    " offset INTEGER NOT NULL, length INTEGER NOT NULL, body_kind INTEGER NOT NULL,"
    " body_bytes INTEGER NOT NULL, body_file BLOB, dead INTEGER NOT NULL, time_ms INTEGER NOT NULL,"
    " commit_id BLOB NOT NULL, version INTEGER NOT NULL, filed BLOB);"
    "CREATE INDEX message_moved ON message(rec_seq) WHERE rec_seq<>id;"
    "CREATE INDEX message_filed ON message(filed) WHERE filed IS NOT NULL;"
    "CREATE INDEX message_file ON message(body_file) WHERE body_file IS NOT NULL;"
    "CREATE TABLE entry(mailbox INTEGER NOT NULL, uid INTEGER NOT NULL, message INTEGER NOT NULL,"
    " variant INTEGER NOT NULL, size INTEGER NOT NULL, flags INTEGER NOT NULL, modseq INTEGER NOT NULL,"
    " time_ms INTEGER NOT NULL, rec_seq INTEGER NOT NULL, saved_ms INTEGER NOT NULL,"
    " PRIMARY KEY(mailbox,uid)) WITHOUT ROWID;"
    "CREATE INDEX entry_message ON entry(message);"
    "CREATE INDEX entry_changed ON entry(rec_seq) WHERE rec_seq<>message;"
    "CREATE INDEX entry_modseq ON entry(mailbox,modseq) WHERE rec_seq<>message;"
    "CREATE TABLE gone(mailbox INTEGER NOT NULL, uid INTEGER NOT NULL, modseq INTEGER NOT NULL,"
    " message INTEGER NOT NULL, account INTEGER NOT NULL, size INTEGER NOT NULL, time_ms INTEGER NOT NULL,"
    " rec_seq INTEGER NOT NULL, PRIMARY KEY(mailbox,uid)) WITHOUT ROWID;"
    "CREATE INDEX gone_seq ON gone(rec_seq);"
    "CREATE INDEX gone_modseq ON gone(mailbox,modseq);"
    "CREATE TABLE mailbox(id INTEGER PRIMARY KEY, account INTEGER NOT NULL, state INTEGER NOT NULL DEFAULT 0,"
    " name TEXT, uidvalidity INTEGER NOT NULL DEFAULT 0, uidnext INTEGER NOT NULL DEFAULT 1,"
    " modseq INTEGER NOT NULL DEFAULT 0, keywords BLOB, def_seq INTEGER NOT NULL DEFAULT 0,"
    " rec_seq INTEGER NOT NULL, messages INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0,"
    " unseen INTEGER NOT NULL DEFAULT 0, deleted INTEGER NOT NULL DEFAULT 0, uses INTEGER NOT NULL DEFAULT 0,"
    " gone_floor INTEGER NOT NULL DEFAULT 0, removed_to INTEGER NOT NULL DEFAULT 0);"
    "CREATE INDEX mailbox_account ON mailbox(account);"
    "CREATE TABLE subscription(id INTEGER PRIMARY KEY, account INTEGER NOT NULL, state INTEGER NOT NULL,"
    " name TEXT, rec_seq INTEGER NOT NULL);"
    "CREATE INDEX subscription_account ON subscription(account);"
    "CREATE TABLE account(id INTEGER PRIMARY KEY, state INTEGER NOT NULL, address TEXT, options INTEGER,"
    " quota_bytes INTEGER, inbox INTEGER, created_ms INTEGER, verifier BLOB, scram_salt BLOB,"
    " scram_iterations INTEGER, scram_stored_key BLOB, scram_server_key BLOB, rec_seq INTEGER NOT NULL,"
    " uidvalidity INTEGER NOT NULL);"
    "CREATE TABLE account_grant(account INTEGER NOT NULL, kind INTEGER NOT NULL, name BLOB NOT NULL,"
    " protocols INTEGER NOT NULL, created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, data BLOB,"
    " PRIMARY KEY(account,kind,name)) WITHOUT ROWID;"
    "CREATE TABLE queue(message INTEGER NOT NULL, recipient INTEGER NOT NULL, state INTEGER NOT NULL,"
    " variant INTEGER NOT NULL, size INTEGER NOT NULL, account INTEGER NOT NULL, created_ms INTEGER NOT NULL,"
    " sender TEXT, address TEXT, rec_seq INTEGER NOT NULL, PRIMARY KEY(message,recipient)) WITHOUT ROWID;"
    "CREATE INDEX queue_seq ON queue(rec_seq);"
    "CREATE TABLE domain(id INTEGER PRIMARY KEY, state INTEGER NOT NULL, name TEXT,"
    " rec_seq INTEGER NOT NULL);"
    "CREATE TABLE alias(id INTEGER PRIMARY KEY, state INTEGER NOT NULL, address TEXT, target TEXT,"
    " rec_seq INTEGER NOT NULL);"
    "CREATE TABLE segment(id INTEGER PRIMARY KEY, live_bytes INTEGER NOT NULL);"
    "CREATE TABLE retired(segment INTEGER PRIMARY KEY, first_seq INTEGER NOT NULL,"
    " last_seq INTEGER NOT NULL, rec_seq INTEGER NOT NULL, uidvalidity INTEGER NOT NULL);"
    "PRAGMA user_version=3;";

#define MESSAGE_COLUMNS "id,rec_seq,segment,offset,length,body_kind,body_bytes,body_file,dead,time_ms,version"
#define QUEUE_COLUMNS   "message,recipient,state,variant,size,account,created_ms,sender,address,rec_seq"
#define MAILBOX_COLUMNS                                                                                     \
    "id,account,state,name,uidvalidity,uidnext,modseq,keywords,rec_seq,messages,bytes,unseen,deleted,uses," \
    "gone_floor,removed_to"
#define ENTRY_COLUMNS "mailbox,uid,message,variant,size,flags,modseq,time_ms,rec_seq,saved_ms"

static const char *const sql[INDEX_STATEMENT_COUNT] = {
    [INDEX_BEGIN] = "BEGIN IMMEDIATE",
    [INDEX_BEGIN_READ] = "BEGIN",
    [INDEX_COMMIT] = "COMMIT",
    [INDEX_ROLLBACK] = "ROLLBACK",
    [INDEX_META_GET] = "SELECT value FROM meta WHERE key=?1",
    [INDEX_META_PUT] = "INSERT OR REPLACE INTO meta(key,value) VALUES(?1,?2)",
    [INDEX_MESSAGE_PUT] = "INSERT OR REPLACE INTO message(" MESSAGE_COLUMNS ",commit_id,filed)"
                          " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)",
    [INDEX_MESSAGE_GET] = "SELECT " MESSAGE_COLUMNS " FROM message WHERE id=?1",
    [INDEX_MESSAGE_SET_DEAD] = "UPDATE message SET dead=?2 WHERE id=?1",
    [INDEX_MESSAGE_MOVE] = "UPDATE message SET segment=?2, offset=?3 WHERE id=?1",
    [INDEX_MESSAGE_NEWER] = "SELECT " MESSAGE_COLUMNS " FROM message WHERE id>?1 ORDER BY id LIMIT ?2",
    [INDEX_MESSAGE_OLDER] =
        "SELECT " MESSAGE_COLUMNS ",commit_id FROM message WHERE id<?1 ORDER BY id DESC LIMIT ?2",
    [INDEX_MESSAGE_FILE] = "SELECT 1 FROM message WHERE body_file=?1 AND dead=0",
    [INDEX_MESSAGE_FILED] = "SELECT e.uid,m.id FROM message m CROSS JOIN entry e ON e.message=m.id"
                            " WHERE m.filed=?1 AND m.time_ms>=?2 AND e.mailbox=?3"
                            " ORDER BY m.id DESC,e.uid LIMIT 1",
    [INDEX_ENTRY_ADD] =
        "INSERT OR IGNORE INTO entry(" ENTRY_COLUMNS ") VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)",
    [INDEX_ENTRY_PUT] =
        "INSERT OR REPLACE INTO entry(" ENTRY_COLUMNS ") VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)",
    [INDEX_ENTRY_GET] = "SELECT " ENTRY_COLUMNS " FROM entry WHERE mailbox=?1 AND uid=?2",
    [INDEX_ENTRY_DELETE] = "DELETE FROM entry WHERE mailbox=?1 AND uid=?2",
    [INDEX_ENTRY_LIST] =
        "SELECT " ENTRY_COLUMNS " FROM entry WHERE mailbox=?1 AND uid>?2 ORDER BY uid LIMIT ?3",
    [INDEX_ENTRY_RANGE] = "SELECT " ENTRY_COLUMNS
                          " FROM entry WHERE mailbox=?1 AND uid BETWEEN ?2 AND ?3 ORDER BY uid LIMIT ?4",
    [INDEX_ENTRY_OF_MESSAGE] = "SELECT 1 FROM entry WHERE message=?1 LIMIT 1",
    [INDEX_ENTRY_UIDS] = "SELECT uid FROM entry WHERE mailbox=?1 AND uid BETWEEN ?2 AND ?3 ORDER BY uid",
    [INDEX_ENTRY_LOWEST] = "SELECT uid FROM entry WHERE mailbox=?1 ORDER BY uid LIMIT 1",
    [INDEX_ENTRY_HIGHEST] = "SELECT uid FROM entry WHERE mailbox=?1 ORDER BY uid DESC LIMIT 1",
    [INDEX_ENTRY_COUNT] = "SELECT count(*) FROM entry WHERE mailbox=?1 AND uid BETWEEN ?2 AND ?3",
    [INDEX_ENTRY_UNSEEN] = "SELECT uid FROM entry WHERE mailbox=?1 AND uid BETWEEN ?2 AND ?3 AND flags&1=0"
                           " ORDER BY uid LIMIT 1",
    [INDEX_ENTRY_NEXT] = "SELECT uid FROM entry WHERE mailbox=?1 AND uid>=?2 ORDER BY uid LIMIT 1",
    [INDEX_ENTRY_CHANGED] = "SELECT uid FROM entry INDEXED BY entry_modseq WHERE mailbox=?1 AND modseq>?2"
                            " AND rec_seq<>message LIMIT ?3",
    [INDEX_ENTRY_CHANGED_FIRST] = "SELECT uid,modseq FROM entry INDEXED BY entry_modseq WHERE mailbox=?1"
                                  " AND modseq>?2 AND rec_seq<>message ORDER BY modseq,uid LIMIT 1",
    [INDEX_ENTRY_TELLING] = "SELECT uid,modseq FROM entry WHERE mailbox=?1 AND uid BETWEEN ?2 AND ?3"
                            " AND (rec_seq=message OR modseq<=?4) ORDER BY uid LIMIT 1",
    [INDEX_ENTRY_ANY] = "SELECT " ENTRY_COLUMNS " FROM entry WHERE (mailbox,uid)>(?1,?2)"
                        " ORDER BY mailbox,uid LIMIT ?3",
    [INDEX_GONE_PUT] = "INSERT OR REPLACE INTO gone(mailbox,uid,modseq,message,account,size,time_ms,rec_seq)"
                       " VALUES(?1,?2,?3,?4,?5,?6,?7,?8)",
    [INDEX_GONE_NTH] = "SELECT uid FROM gone WHERE mailbox=?1 AND uid>?2 ORDER BY uid LIMIT 1 OFFSET ?3",
    [INDEX_GONE_WIPE] = "DELETE FROM gone WHERE mailbox=?1 AND uid<=?2",
    [INDEX_GONE_UIDS] = "SELECT uid,modseq FROM gone WHERE mailbox=?1 AND uid BETWEEN ?2 AND ?3 ORDER BY uid",
    [INDEX_GONE_SINCE] =
        "SELECT uid FROM gone INDEXED BY gone_modseq WHERE mailbox=?1 AND modseq>?2 LIMIT ?3",
    [INDEX_QUEUE_PUT] = "INSERT OR REPLACE INTO queue(" QUEUE_COLUMNS ")"
                        " VALUES(?1,?2,?3,?4,?5,?6,?7,CAST(?8 AS TEXT),CAST(?9 AS TEXT),?10)",
    [INDEX_QUEUE_GET] = "SELECT " QUEUE_COLUMNS " FROM queue WHERE message=?1 AND recipient=?2",
    [INDEX_QUEUE_OF_MESSAGE] = "SELECT " QUEUE_COLUMNS " FROM queue WHERE message=?1 AND state<>0 LIMIT ?2",
    [INDEX_QUEUE_LIST] = "SELECT " QUEUE_COLUMNS ",(SELECT commit_id FROM message WHERE id=queue.message)"
                         " FROM queue WHERE (message,recipient)>(?1,?2) AND state<>0"
                         " ORDER BY message,recipient LIMIT ?3",
    [INDEX_QUEUE_COUNT] = "SELECT count(*) FROM queue WHERE state<>0",
    [INDEX_BOX_ADD] = "INSERT INTO mailbox(id,account,uidnext,modseq,rec_seq,messages,bytes,unseen,deleted)"
                      " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)"
                      " ON CONFLICT(id) DO UPDATE SET uidnext=max(uidnext,excluded.uidnext),"
                      " modseq=max(modseq,excluded.modseq), rec_seq=max(rec_seq,excluded.rec_seq),"
                      " messages=messages+excluded.messages, bytes=bytes+excluded.bytes,"
                      " unseen=unseen+excluded.unseen, deleted=deleted+excluded.deleted",
    [INDEX_MAILBOX_PUT] =
        "INSERT INTO mailbox(id,account,state,name,uidvalidity,uidnext,modseq,keywords,def_seq,rec_seq,uses,"
        "gone_floor) VALUES(?1,?2,0,CAST(?3 AS TEXT),?4,?5,?6,?7,?8,?8,?9,?10) ON CONFLICT(id) DO UPDATE SET"
        " account=excluded.account, state=0, name=excluded.name, uidvalidity=excluded.uidvalidity,"
        " uidnext=max(uidnext,excluded.uidnext), modseq=max(modseq,excluded.modseq),"
        " keywords=excluded.keywords, def_seq=excluded.def_seq, rec_seq=excluded.rec_seq,"
        " uses=excluded.uses, gone_floor=max(gone_floor,excluded.gone_floor)",
    [INDEX_MAILBOX_REMOVED] = "INSERT OR REPLACE INTO mailbox(id,account,state,def_seq,rec_seq,uidvalidity)"
                              " VALUES(?1,?2,2,?3,?3,?4)",
    [INDEX_MAILBOX_REMOVING] =
        "INSERT INTO mailbox(id,account,state,uidnext,modseq,def_seq,rec_seq,removed_to,uidvalidity)"
        " VALUES(?1,?2,1,?3,?4,?5,?5,?6,?7)"
        " ON CONFLICT(id) DO UPDATE SET account=excluded.account, state=1, name=NULL, "
        "uidvalidity=excluded.uidvalidity,"
        " uidnext=max(uidnext,excluded.uidnext), modseq=max(modseq,excluded.modseq), keywords=NULL,"
        " def_seq=excluded.def_seq, rec_seq=excluded.rec_seq, uses=0, gone_floor=0,"
        " removed_to=max(removed_to,excluded.removed_to)",
    [INDEX_MAILBOX_GET] = "SELECT " MAILBOX_COLUMNS " FROM mailbox WHERE id=?1",
    [INDEX_MAILBOX_VIEW] = "SELECT uidnext,modseq,messages,gone_floor FROM mailbox WHERE id=?1 AND state=0",
    [INDEX_MAILBOX_LIST] = "SELECT " MAILBOX_COLUMNS " FROM mailbox WHERE state<2 ORDER BY account,name",
    [INDEX_MAILBOX_OF_ACCOUNT] = "SELECT id FROM mailbox WHERE account=?1 ORDER BY id LIMIT 1",
    [INDEX_MAILBOX_DELETE] = "DELETE FROM mailbox WHERE id=?1",
    [INDEX_SUBSCRIPTION_PUT] = "INSERT OR REPLACE INTO subscription(id,account,state,name,rec_seq)"
                               " VALUES(?1,?2,?3,CAST(?4 AS TEXT),?5)",
    [INDEX_SUBSCRIPTION_LIST] =
        "SELECT id,account,name FROM subscription WHERE state=0 ORDER BY account,name,id",
    [INDEX_SUBSCRIPTION_WIPE] = "DELETE FROM subscription WHERE account=?1",
    [INDEX_ACCOUNT_PUT] =
        "INSERT OR REPLACE INTO account(id,state,address,options,quota_bytes,inbox,created_ms,verifier,"
        "scram_salt,scram_iterations,scram_stored_key,scram_server_key,rec_seq,uidvalidity)"
        " VALUES(?1,?2,CAST(?3 AS TEXT),?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14)",
    [INDEX_ACCOUNT_LIST] = "SELECT id,state,address,options,quota_bytes,inbox,created_ms,verifier,"
                           "scram_salt,scram_iterations,scram_stored_key,scram_server_key,rec_seq"
                           " FROM account WHERE state<2",
    [INDEX_GRANT_PUT] = "INSERT OR REPLACE INTO account_grant(account,kind,name,protocols,created_ms,"
                        "expires_ms,data) VALUES(?1,?2,?3,?4,?5,?6,?7)",
    [INDEX_GRANT_WIPE] = "DELETE FROM account_grant WHERE account=?1",
    [INDEX_GRANT_LIST] = "SELECT account,kind,name,protocols,created_ms,expires_ms,data FROM account_grant",
    [INDEX_DOMAIN_PUT] =
        "INSERT OR REPLACE INTO domain(id,state,name,rec_seq) VALUES(?1,?2,CAST(?3 AS TEXT),?4)",
    [INDEX_DOMAIN_LIST] = "SELECT id,state,name FROM domain WHERE state=0",
    [INDEX_ALIAS_PUT] = "INSERT OR REPLACE INTO alias(id,state,address,target,rec_seq)"
                        " VALUES(?1,?2,CAST(?3 AS TEXT),CAST(?4 AS TEXT),?5)",
    [INDEX_ALIAS_LIST] = "SELECT id,state,address,target FROM alias WHERE state=0 ORDER BY id",
    [INDEX_SEGMENT_ADD] = "INSERT INTO segment(id,live_bytes) VALUES(?1,?2)"
                          " ON CONFLICT(id) DO UPDATE SET live_bytes=live_bytes+excluded.live_bytes",
    [INDEX_SEGMENT_CLEAN] = "DELETE FROM segment WHERE id=?1 AND live_bytes=0",
    [INDEX_SEGMENT_LIST] = "SELECT id,live_bytes FROM segment",
    [INDEX_RETIRED_PUT] = "INSERT OR REPLACE INTO retired(segment,first_seq,last_seq,rec_seq,uidvalidity)"
                          " VALUES(?1,?2,?3,?4,?5)",
    [INDEX_UIDVALIDITY] = "SELECT max(ifnull((SELECT max(uidvalidity) FROM mailbox),0),"
                          "ifnull((SELECT max(uidvalidity) FROM account),0),"
                          "ifnull((SELECT max(uidvalidity) FROM retired),0))",
    [INDEX_RETIRED_LIST] = "SELECT segment,rec_seq FROM retired",
    [INDEX_DROP_MESSAGE] =
        "DELETE FROM message WHERE dead=1 AND id IN (SELECT id FROM message WHERE id BETWEEN ?1 AND ?2 AND"
        " rec_seq=id UNION ALL SELECT id FROM message WHERE rec_seq BETWEEN ?1 AND ?2 AND rec_seq<>id)",
    [INDEX_DROP_GONE] = "DELETE FROM gone WHERE rec_seq BETWEEN ?1 AND ?2",
    [INDEX_DROP_QUEUE] = "DELETE FROM queue WHERE state=0 AND rec_seq BETWEEN ?1 AND ?2",
    [INDEX_DROP_MAILBOX] = "DELETE FROM mailbox WHERE state=2 AND rec_seq BETWEEN ?1 AND ?2",
    [INDEX_DROP_SUBSCRIPTION] = "DELETE FROM subscription WHERE state=2 AND rec_seq BETWEEN ?1 AND ?2",
    [INDEX_DROP_ACCOUNT] = "DELETE FROM account WHERE state=2 AND rec_seq BETWEEN ?1 AND ?2",
    [INDEX_DROP_DOMAIN] = "DELETE FROM domain WHERE state=2 AND rec_seq BETWEEN ?1 AND ?2",
    [INDEX_DROP_ALIAS] = "DELETE FROM alias WHERE state=2 AND rec_seq BETWEEN ?1 AND ?2",
    [INDEX_DROP_RETIRED] = "DELETE FROM retired WHERE rec_seq BETWEEN ?1 AND ?2",
    [INDEX_LIVE_SMALL] =
        "SELECT 90*(SELECT count(*) FROM entry WHERE rec_seq BETWEEN ?1 AND ?2 AND rec_seq<>message)"
        "+64*(SELECT count(*) FROM gone WHERE rec_seq BETWEEN ?1 AND ?2 AND NOT(message>?3 AND time_ms<?4))"
        "+150*(SELECT count(*) FROM queue WHERE rec_seq BETWEEN ?1 AND ?2 AND NOT(state=0 AND message>?3))"
        "+400*(SELECT count(*) FROM message WHERE id BETWEEN ?1 AND ?2 AND rec_seq=id AND dead=1"
        " AND NOT(id>?3 AND time_ms<?5))"
        "+400*(SELECT count(*) FROM message WHERE rec_seq BETWEEN ?1 AND ?2 AND rec_seq<>id AND dead=1"
        " AND NOT(id>?3 AND time_ms<?5))"
        "+120*(SELECT count(*) FROM mailbox WHERE rec_seq BETWEEN ?1 AND ?2 OR def_seq BETWEEN ?1 AND ?2)"
        "+100*(SELECT count(*) FROM subscription WHERE rec_seq BETWEEN ?1 AND ?2)"
        "+250*(SELECT count(*) FROM account WHERE rec_seq BETWEEN ?1 AND ?2)"
        "+120*(SELECT count(*) FROM alias WHERE rec_seq BETWEEN ?1 AND ?2)"
        "+60*(SELECT count(*) FROM domain WHERE rec_seq BETWEEN ?1 AND ?2)",
    [INDEX_IN_MESSAGE] = "SELECT " MESSAGE_COLUMNS " FROM message WHERE id>?1 AND id BETWEEN ?2 AND ?3"
                         " AND rec_seq=id ORDER BY id LIMIT ?4",
    [INDEX_IN_MESSAGE_MOVED] = "SELECT " MESSAGE_COLUMNS " FROM message WHERE rec_seq>?1"
                               " AND rec_seq BETWEEN ?2 AND ?3 AND rec_seq<>id ORDER BY rec_seq LIMIT ?4",
    [INDEX_IN_ENTRY] = "SELECT " ENTRY_COLUMNS " FROM entry WHERE message BETWEEN ?1 AND ?2"
                       " AND rec_seq=message LIMIT ?3",
    [INDEX_IN_ENTRY_CHANGED] = "SELECT " ENTRY_COLUMNS " FROM entry WHERE rec_seq BETWEEN ?1 AND ?2"
                               " AND rec_seq<>message LIMIT ?3",
    [INDEX_IN_GONE] = "SELECT mailbox,uid,modseq,message,account,size,time_ms,rec_seq FROM gone"
                      " WHERE rec_seq BETWEEN ?1 AND ?2 AND (rec_seq,mailbox,uid)>(?3,?4,?5)"
                      " ORDER BY rec_seq,mailbox,uid LIMIT ?6",
    [INDEX_IN_QUEUE] = "SELECT " QUEUE_COLUMNS " FROM queue WHERE rec_seq BETWEEN ?1 AND ?2"
                       " AND (rec_seq,message,recipient)>(?3,?4,?5) ORDER BY rec_seq,message,recipient"
                       " LIMIT ?6",
    [INDEX_IN_MAILBOX] = "SELECT id,state,account FROM mailbox WHERE id>?1 AND (def_seq BETWEEN ?2 AND ?3"
                         " OR rec_seq BETWEEN ?2 AND ?3) ORDER BY id LIMIT ?4",
    [INDEX_IN_SUBSCRIPTION] = "SELECT id,state,account FROM subscription WHERE id>?1"
                              " AND rec_seq BETWEEN ?2 AND ?3 ORDER BY id LIMIT ?4",
    [INDEX_IN_ACCOUNT] = "SELECT id,state,0 FROM account WHERE id>?1 AND rec_seq BETWEEN ?2 AND ?3"
                         " ORDER BY id LIMIT ?4",
    [INDEX_IN_DOMAIN] = "SELECT id,state,0 FROM domain WHERE id>?1 AND rec_seq BETWEEN ?2 AND ?3"
                        " ORDER BY id LIMIT ?4",
    [INDEX_IN_ALIAS] = "SELECT id,state,0 FROM alias WHERE id>?1 AND rec_seq BETWEEN ?2 AND ?3"
                       " ORDER BY id LIMIT ?4",
    [INDEX_CHECK_ENTRIES] = "SELECT e.mailbox,e.uid,e.message FROM entry e LEFT JOIN message m"
                            " ON m.id=e.message AND m.dead=0 WHERE m.id IS NULL LIMIT 100",
    [INDEX_CHECK_BOXES] = "SELECT m.id,m.messages,m.bytes,count(e.uid),ifnull(sum(e.size),0),m.uidnext,"
                          "ifnull(max(e.uid),0),m.unseen,m.deleted,ifnull(sum(e.flags&1=0),0),"
                          "ifnull(sum(e.flags&8<>0),0) FROM mailbox m LEFT JOIN entry e ON e.mailbox=m.id"
                          " GROUP BY m.id",
    [INDEX_CHECK_QUEUE] = "SELECT q.message,q.recipient FROM queue q LEFT JOIN message m"
                          " ON m.id=q.message AND m.dead=0 WHERE q.state<>0 AND m.id IS NULL LIMIT 100",
    [INDEX_CHECK_QUICK] = "PRAGMA quick_check(20)",
};

static int code_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
        return BRANT_OK;
    case SQLITE_FULL:
        return BRANT_ENOSPACE;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return BRANT_ETRYLATER;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return BRANT_ECORRUPT;
    default:
        return BRANT_EIO;
    }
}

static sqlite3_stmt *statement(struct index *ix, enum index_statement s)
{
    if (!ix->statements[s] &&
        sqlite3_prepare_v3(ix->db, sql[s], -1, SQLITE_PREPARE_PERSISTENT, &ix->statements[s], NULL))
        return NULL;
    return ix->statements[s];
}

int index_bind(struct index *ix, enum index_statement s, const struct index_value *values, size_t count)
{
    sqlite3_stmt *st = statement(ix, s);

    if (!st)
        return code_of(sqlite3_errcode(ix->db));
    for (size_t i = 0; i < count; i++) {
        const struct index_value *v = &values[i];
        int rc = SQLITE_OK;

        if (!v->is_bytes)
            rc = sqlite3_bind_int64(st, (int)i + 1, (int64_t)v->number);
        else if (!v->bytes.p)
            rc = sqlite3_bind_null(st, (int)i + 1);
        else
            rc = sqlite3_bind_blob64(st, (int)i + 1, v->bytes.p, v->bytes.len, SQLITE_STATIC);
        assert(rc == SQLITE_OK);
    }
    return BRANT_OK;
}

int index_row(struct index *ix, enum index_statement s)
{
    int rc = sqlite3_step(ix->statements[s]);

    if (rc == SQLITE_ROW)
        return BRANT_OK;
    sqlite3_reset(ix->statements[s]);
    return rc == SQLITE_DONE ? BRANT_ENOTFOUND : code_of(rc);
}

void index_reset(struct index *ix, enum index_statement s)
{
    if (ix->statements[s])
        sqlite3_reset(ix->statements[s]);
}

int index_run(struct index *ix, enum index_statement s, const struct index_value *values, size_t count)
{
    int rc = index_bind(ix, s, values, count);

    if (rc)
        return rc;
    rc = sqlite3_step(ix->statements[s]);
    sqlite3_reset(ix->statements[s]);
    return code_of(rc);
}

int index_simple(struct index *ix, enum index_statement s)
{
    return index_run(ix, s, NULL, 0);
}

uint64_t index_changes(struct index *ix)
{
    return (uint64_t)sqlite3_changes(ix->db);
}

bool index_in_transaction(struct index *ix)
{
    return !sqlite3_get_autocommit(ix->db);
}

uint64_t index_number(struct index *ix, enum index_statement s, int column)
{
    return (uint64_t)sqlite3_column_int64(ix->statements[s], column);
}

struct span index_bytes(struct index *ix, enum index_statement s, int column)
{
    const void *p = sqlite3_column_blob(ix->statements[s], column);

    return span_make(p, (size_t)sqlite3_column_bytes(ix->statements[s], column));
}

static void checkpoint_on_close(struct index *ix, bool on)
{
    (void)sqlite3_db_config(ix->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !on, NULL);
}

/* How each connection works (DESIGN §4 rule 4). The library may be compiled with secure_delete on. */
static int set_up(struct index *ix, bool writing)
{
    const char *pragmas = "PRAGMA synchronous=NORMAL; PRAGMA secure_delete=OFF; PRAGMA wal_autocheckpoint=0;"
                          "PRAGMA cache_size=-16000; PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF;";
    int rc = BRANT_OK;

    checkpoint_on_close(ix, false);
    sqlite3_busy_timeout(ix->db, 5000);
    if (writing)
        rc = code_of(sqlite3_exec(ix->db, "PRAGMA journal_mode=WAL;", NULL, NULL, NULL));
    if (!rc)
        rc = code_of(sqlite3_exec(ix->db, pragmas, NULL, NULL, NULL));
    return rc;
}

static int user_version(struct index *ix, int *ret)
{
    sqlite3_stmt *st;
    int rc = sqlite3_prepare_v2(ix->db, "PRAGMA user_version", -1, &st, NULL);

    if (rc)
        return code_of(rc);
    rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        *ret = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    return rc == SQLITE_ROW ? BRANT_OK : code_of(rc);
}

/* A new index gets its tables in one transaction: it is either empty or whole. */
static int set_schema(struct index *ix, bool writing)
{
    int version = 0, rc = user_version(ix, &version);

    if (rc || version == INDEX_VERSION)
        return rc;
    if (version != 0)
        return BRANT_EUNSUPPORTED;
    if (!writing)
        return BRANT_ENOTFOUND;
    rc = index_simple(ix, INDEX_BEGIN);
    if (!rc)
        rc = code_of(sqlite3_exec(ix->db, schema, NULL, NULL, NULL));
    if (!rc)
        rc = index_exec(ix, INDEX_META_PUT, INDEX_N(INDEX_META_APPLIED), INDEX_N(0));
    if (!rc)
        rc = index_simple(ix, INDEX_COMMIT);
    return rc;
}

int index_open(struct os_fs *fs, bool writing, struct index **ret)
{
    struct index *ix = mem_zalloc(sizeof *ix);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (writing ? SQLITE_OPEN_CREATE : 0);
    int rc = code_of(sqlite3_open_v2(INDEX_PATH, &ix->db, flags, os_fs_sqlite_vfs(fs)));

    if (!rc)
        rc = set_up(ix, writing);
    if (!rc)
        rc = set_schema(ix, writing);
    if (rc) {
        index_close(ix);
        return rc;
    }
    *ret = ix;
    return BRANT_OK;
}

void index_finish(struct index *ix)
{
    checkpoint_on_close(ix, true);
}

void index_close(struct index *ix)
{
    if (!ix)
        return;
    for (size_t i = 0; i < INDEX_STATEMENT_COUNT; i++)
        sqlite3_finalize(ix->statements[i]);
    sqlite3_close(ix->db);
    free(ix);
}

static int rewrite(struct os_file *file, uint64_t size)
{
    enum { CHUNK = 65536 };
    _cleanup_free_ uint8_t *bytes = mem_alloc(CHUNK);
    int rc = BRANT_OK;

    for (uint64_t at = 0; !rc && at < size; at += CHUNK) {
        struct span piece = span_make(bytes, size - at < CHUNK ? (size_t)(size - at) : CHUNK);

        rc = os_file_read(file, at, bytes, piece.len);
        if (!rc)
            rc = os_file_write(file, at, &piece, 1);
    }
    return rc ? rc : os_file_sync(file);
}

int index_settle(struct os_fs *fs)
{
    struct os_file *file;
    uint64_t size = 0;
    int rc = os_fs_open(fs, INDEX_LOG_PATH, OS_OPEN_READ | OS_OPEN_WRITE, &file);

    if (rc)
        return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
    rc = os_file_size(file, &size);
    if (!rc)
        rc = rewrite(file, size);
    os_file_close(file);
    return rc ? rc : os_fs_sync_dir(fs, ".");
}

/* The database first, and for certain: without its log it may be half of a checkpoint, while a log without
 * its database means nothing. */
int index_delete(struct os_fs *fs)
{
    static const char *const rest[] = {INDEX_LOG_PATH, INDEX_PATH "-shm", INDEX_PATH "-journal"};
    int rc = os_fs_unlink(fs, INDEX_PATH);

    if (!rc)
        rc = os_fs_sync_dir(fs, ".");
    for (size_t i = 0; (!rc || rc == BRANT_ENOTFOUND) && i < sizeof rest / sizeof rest[0]; i++)
        rc = os_fs_unlink(fs, rest[i]);
    return rc && rc != BRANT_ENOTFOUND ? rc : os_fs_sync_dir(fs, ".");
}

void index_message_row(struct index *ix, enum index_statement s, struct index_message *ret)
{
    struct span file = index_bytes(ix, s, 7);

    *ret = (struct index_message){
        .id = index_number(ix, s, 0),
        .rec_seq = index_number(ix, s, 1),
        .segment = (uint32_t)index_number(ix, s, 2),
        .offset = index_number(ix, s, 3),
        .length = (uint32_t)index_number(ix, s, 4),
        .body_kind = (uint8_t)index_number(ix, s, 5),
        .body_bytes = index_number(ix, s, 6),
        .dead = index_number(ix, s, 8) != 0,
        .time_ms = index_number(ix, s, 9),
        .version = (uint16_t)index_number(ix, s, 10),
    };
    if (file.len == sizeof ret->body_file)
        memcpy(ret->body_file, file.p, file.len);
}

int index_message(struct index *ix, uint64_t id, struct index_message *ret)
{
    int rc = index_query(ix, INDEX_MESSAGE_GET, INDEX_N(id));

    if (!rc)
        rc = index_row(ix, INDEX_MESSAGE_GET);
    if (rc)
        return rc;
    index_message_row(ix, INDEX_MESSAGE_GET, ret);
    index_reset(ix, INDEX_MESSAGE_GET);
    return BRANT_OK;
}

void index_entry_row(struct index *ix, enum index_statement s, struct index_entry *ret)
{
    *ret = (struct index_entry){
        .mailbox = index_number(ix, s, 0),
        .uid = (uint32_t)index_number(ix, s, 1),
        .message = index_number(ix, s, 2),
        .variant = (uint32_t)index_number(ix, s, 3),
        .size = index_number(ix, s, 4),
        .flags = index_number(ix, s, 5),
        .modseq = index_number(ix, s, 6),
        .time_ms = index_number(ix, s, 7),
        .rec_seq = index_number(ix, s, 8),
        .saved_ms = index_number(ix, s, 9),
    };
}

int index_entry(struct index *ix, uint64_t mailbox, uint32_t uid, struct index_entry *ret)
{
    int rc = index_query(ix, INDEX_ENTRY_GET, INDEX_N(mailbox), INDEX_N(uid));

    if (!rc)
        rc = index_row(ix, INDEX_ENTRY_GET);
    if (rc)
        return rc;
    index_entry_row(ix, INDEX_ENTRY_GET, ret);
    index_reset(ix, INDEX_ENTRY_GET);
    return BRANT_OK;
}

void index_queued_row(struct index *ix, enum index_statement s, struct index_queued *ret)
{
    *ret = (struct index_queued){
        .message = index_number(ix, s, 0),
        .recipient = (uint32_t)index_number(ix, s, 1),
        .state = (uint8_t)index_number(ix, s, 2),
        .variant = (uint32_t)index_number(ix, s, 3),
        .size = index_number(ix, s, 4),
        .account = index_number(ix, s, 5),
        .created_ms = index_number(ix, s, 6),
        .sender = index_bytes(ix, s, 7),
        .address = index_bytes(ix, s, 8),
        .rec_seq = index_number(ix, s, 9),
    };
}

int index_queued(struct index *ix, uint64_t message, uint32_t recipient, struct arena *arena,
                 struct index_queued *ret)
{
    bool full;
    int rc = index_query(ix, INDEX_QUEUE_GET, INDEX_N(message), INDEX_N(recipient));

    if (!rc)
        rc = index_row(ix, INDEX_QUEUE_GET);
    if (rc)
        return rc;
    index_queued_row(ix, INDEX_QUEUE_GET, ret);
    full = (ret->sender.len && !(ret->sender = arena_dup(arena, ret->sender)).p) ||
           (ret->address.len && !(ret->address = arena_dup(arena, ret->address)).p);
    index_reset(ix, INDEX_QUEUE_GET);
    return full ? BRANT_ELIMIT : BRANT_OK;
}

int index_checkpoint(struct index *ix, bool restart, bool *ret_all, uint64_t *ret_bytes)
{
    int log = 0, copied = 0;
    int rc = sqlite3_wal_checkpoint_v2(
        ix->db, NULL, restart ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE, &log, &copied);

    if (rc != SQLITE_OK && rc != SQLITE_BUSY)
        return code_of(rc);
    *ret_all = rc == SQLITE_OK && log == copied;
    *ret_bytes = log > 0 ? (uint64_t)log * 4096 : 0;
    return BRANT_OK;
}

static int dump_table(struct index *ix, const char *query, struct buf *out)
{
    sqlite3_stmt *st;
    int rc = sqlite3_prepare_v2(ix->db, query, -1, &st, NULL);

    if (rc)
        return code_of(rc);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(st); i++) {
            struct span value = span_make(sqlite3_column_text(st, i), (size_t)sqlite3_column_bytes(st, i));

            (void)buf_printf(out, "%s%s=", i ? " " : "", sqlite3_column_name(st, i));
            (void)buf_append(out, value);
        }
        (void)buf_append_byte(out, '\n');
    }
    sqlite3_finalize(st);
    return code_of(rc);
}

int index_dump(struct index *ix, struct buf *out)
{
    static const char *const queries[] = {
        ("SELECT 'message',id,rec_seq,segment,offset,length,body_kind,body_bytes,hex(body_file) AS body_file,"
         "dead,time_ms,hex(commit_id) AS commit_id,version,hex(filed) AS filed FROM message ORDER BY id"),
        "SELECT 'entry',* FROM entry ORDER BY mailbox,uid",
        "SELECT 'gone',* FROM gone ORDER BY mailbox,uid",
        "SELECT 'mailbox',* FROM mailbox ORDER BY id",
        "SELECT 'subscription',* FROM subscription ORDER BY id",
        ("SELECT 'account',id,state,address,options,quota_bytes,inbox,created_ms,hex(verifier) AS verifier,"
         "hex(scram_salt) AS salt,scram_iterations,hex(scram_stored_key) AS stored_key,"
         "hex(scram_server_key) AS server_key,rec_seq,uidvalidity FROM account ORDER BY id"),
        ("SELECT 'grant',account,kind,hex(name) AS name,protocols,created_ms,expires_ms,hex(data) AS data"
         " FROM account_grant ORDER BY account,kind,name"),
        "SELECT 'queue',* FROM queue ORDER BY message,recipient",
        "SELECT 'domain',* FROM domain ORDER BY id",
        "SELECT 'alias',* FROM alias ORDER BY id",
        "SELECT 'segment',* FROM segment ORDER BY id",
        "SELECT 'retired',* FROM retired ORDER BY segment",
    };
    int rc = BRANT_OK;

    for (size_t i = 0; !rc && i < sizeof queries / sizeof queries[0]; i++)
        rc = dump_table(ix, queries[i], out);
    return out->overflowed ? BRANT_ELIMIT : rc;
}
