use std::{collections::HashMap, hint::black_box, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use tokio::runtime::Builder;
use tokio_postgres::{Client as Connection, NoTls, Statement};

use crate::suites::{
    db::rows::{MANY, Rows, User, counter, key, name},
    network::calls::Client,
};

/// Direct use of the crate `tokio-postgres`.
pub(super) struct ByHand {
    /// The clients, of which each call takes the next.
    clients: Vec<Prepared>,
    rows: Arc<Rows>,
}

/// A client and its prepared statements.
struct Prepared {
    client: Connection,
    get: Statement,
    set: Statement,
    incr: Statement,
    get_many: Statement,
    set_many: Statement,
}

/// The clock of the server in milliseconds, in its cheapest form.
const NOW: &str = "floor(date_part('epoch', clock_timestamp()) * 1000)::bigint";
const LIFETIME: i64 = 3_600_000;
const COPY: [&str; 4] = [
    "CREATE TABLE by_hand (LIKE cache INCLUDING ALL) WITH (autovacuum_vacuum_scale_factor = 0.05)",
    "INSERT INTO by_hand (key, expires, value) SELECT key, expires, value FROM cache ORDER BY id",
    "VACUUM ANALYZE cache",
    "VACUUM ANALYZE by_hand",
];

/// Creates the table for direct use, with the columns and rows of the table of `cache-db`.
pub(super) fn copy(url: &str) -> Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(connection);
        for sql in COPY {
            client.batch_execute(sql).await?;
        }
        Ok(())
    })
}

impl ByHand {
    /// Connects in the runtime of the caller.
    pub(super) async fn connect(url: &str, clients: usize, rows: &Arc<Rows>) -> Result<Arc<Self>> {
        let mut res = Vec::new();
        for _ in 0..clients {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
            tokio::spawn(connection);
            res.push(Prepared::new(client).await?);
        }
        Ok(Arc::new(Self { clients: res, rows: Arc::clone(rows) }))
    }

    fn client(&self, n: usize) -> &Prepared {
        &self.clients[n % self.clients.len()]
    }

    async fn value(&self, n: usize) -> Result<Vec<u8>> {
        let key = key(&name(self.rows.any()));
        let it = self.client(n);
        let row = it.client.query_opt(&it.get, &[&key.as_bytes()]).await?;
        Ok(row.context("the key is absent")?.try_get(0)?)
    }
}

impl Prepared {
    async fn new(client: Connection) -> Result<Self> {
        let live = format!("(expires IS NULL OR expires > {NOW})");
        let get = format!("SELECT value FROM by_hand WHERE key = $1 AND {live}");
        let overwrite =
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires = excluded.expires";
        let set = format!(
            "INSERT INTO by_hand (key, value, expires) VALUES ($1, $2, {NOW} + $3::bigint) {overwrite}"
        );
        let incr = format!(
            "UPDATE by_hand SET value = convert_to((convert_from(value, 'UTF8')::bigint + $2::bigint)::text, 'UTF8') \
             WHERE key = $1 AND {live} RETURNING value"
        );
        let get_many = format!("SELECT key, value FROM by_hand WHERE key = ANY($1) AND {live}");
        let set_many = format!(
            "INSERT INTO by_hand (key, value, expires) SELECT n.key, n.value, {NOW} + $3::bigint \
             FROM unnest($1::bytea[], $2::bytea[]) AS n (key, value) {overwrite}"
        );
        Ok(Self {
            get: client.prepare(&get).await?,
            set: client.prepare(&set).await?,
            incr: client.prepare(&incr).await?,
            get_many: client.prepare(&get_many).await?,
            set_many: client.prepare(&set_many).await?,
            client,
        })
    }
}

impl Client for ByHand {
    async fn get(&self, n: usize) -> Result<()> {
        black_box(serde_json::from_slice::<User>(&self.value(n).await?)?);
        Ok(())
    }

    async fn get_bytes(&self, n: usize) -> Result<()> {
        black_box(self.value(n).await?);
        Ok(())
    }

    async fn set(&self, n: usize) -> Result<()> {
        let json = self.rows.json(self.rows.next())?;
        let key = key(&name(self.rows.any()));
        let it = self.client(n);
        it.client.execute(&it.set, &[&key.as_bytes(), &json, &LIFETIME]).await?;
        Ok(())
    }

    async fn incr(&self, n: usize) -> Result<()> {
        let key = key(&counter(self.rows.next()));
        let it = self.client(n);
        let row = it.client.query_opt(&it.incr, &[&key.as_bytes(), &1_i64]).await?;
        let sum: &[u8] = row.as_ref().context("the key is absent")?.try_get(0)?;
        black_box(std::str::from_utf8(sum)?.parse::<i64>()?);
        Ok(())
    }

    async fn get_many(&self, n: usize) -> Result<()> {
        let keys: Vec<String> = self.rows.many().map(|it| key(&name(it))).collect();
        let keys: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
        let it = self.client(n);
        let mut values: HashMap<String, User> = HashMap::with_capacity(MANY);
        for row in it.client.query(&it.get_many, &[&keys]).await? {
            let (key, json): (&[u8], &[u8]) = (row.try_get(0)?, row.try_get(1)?);
            values.insert(String::from_utf8(key.to_vec())?, serde_json::from_slice(json)?);
        }
        ensure!(values.len() == MANY, "{} values", values.len());
        black_box(values);
        Ok(())
    }

    async fn set_many(&self, n: usize) -> Result<()> {
        let number = self.rows.next();
        let mut rows: Vec<usize> = self.rows.many().collect();
        // Sorted, because two batches in different orders would deadlock.
        rows.sort_unstable();
        let keys: Vec<String> = rows.iter().map(|it| key(&name(*it))).collect();
        let keys: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
        let values: Vec<Vec<u8>> =
            rows.iter().map(|_| self.rows.json(number)).collect::<Result<_>>()?;
        let it = self.client(n);
        let written = it.client.execute(&it.set_many, &[&keys, &values, &LIFETIME]).await?;
        ensure!(written == MANY as u64, "{written} values");
        Ok(())
    }
}
