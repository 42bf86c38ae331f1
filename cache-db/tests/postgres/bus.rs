//! Messages between processes through the server.

use std::sync::Arc;

use cache_core::{
    Error, ErrorKind,
    store::{Backend, Bus, BusMessage},
    testing::FakeClock,
};
use cache_db as _;
use test_servers::{Postgres, Server as _};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::support::{cache_by, number, options, raw, store, timed_by};

/// Returns a bus that a slow machine does not end.
fn bus(location: &str) -> Arc<dyn Bus> {
    Backend::views(store(location, &options(""))).bus.unwrap()
}

/// A listener, whose messages are texts, or the words for other messages.
struct Listener {
    messages: UnboundedReceiver<Result<String, &'static str>>,
    ended: tokio::task::JoinHandle<Error>,
}

impl Listener {
    async fn start(bus: &Arc<dyn Bus>, channel: &str) -> Self {
        let (sender, messages) = unbounded_channel();
        let (bus, channel) = (Arc::clone(bus), channel.to_owned());
        let receiver = Arc::new(move |message: BusMessage<'_>| {
            let _ = sender.send(match message {
                BusMessage::Text(text) => Ok(text.to_owned()),
                BusMessage::Lost => Err("lost"),
                BusMessage::Ready => Err("ready"),
                BusMessage::Heartbeat(_) => return,
            });
        });
        let ended = tokio::spawn(async move { bus.listen(&channel, receiver).await });
        let mut listener = Self { messages, ended };
        assert_eq!(listener.next().await, Err("ready"));
        listener
    }

    async fn next(&mut self) -> Result<String, &'static str> {
        self.messages.recv().await.unwrap()
    }

    async fn texts(&mut self, expected: &[&str]) {
        for text in expected {
            assert_eq!(self.next().await.as_deref(), Ok(*text));
        }
    }
}

#[tokio::test]
async fn messages_arrive_in_order_at_all_listeners_of_the_channel() {
    let server = Postgres::start().unwrap();
    let long = "a channel with a name of more than 63 bytes, such as this one, has no limit";
    let (one, other) = (bus(&server.url()), bus(&server.url()));
    let mut listeners =
        vec![Listener::start(&one, long).await, Listener::start(&other, long).await];
    let mut stranger = Listener::start(&one, &format!("{long}!")).await;

    let all: Vec<String> = (0..1200).map(|it| it.to_string()).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    one.publish(long, &all).await.unwrap();
    let odd = ["equal", "equal", "", "a:b, \\,c\\", "ü\u{1F600}\n\0"];
    other.publish(long, &odd).await.unwrap();
    other.publish(long, &[]).await.unwrap();
    for listener in &mut listeners {
        listener.texts(&all).await;
        listener.texts(&odd).await;
    }
    one.publish(&format!("{long}!"), &["only this"]).await.unwrap();
    stranger.texts(&["only this"]).await;
    let client = raw(&server).await;
    let sql = "SELECT count(*) FROM pg_class WHERE relname = 'cache'";
    assert_eq!(number(&client, sql).await, 0, "a bus needs no table");
}

#[tokio::test]
async fn text_that_is_too_long_is_lost() {
    let server = Postgres::start().unwrap();
    let bus = bus(&server.url());
    let mut listener = Listener::start(&bus, "c").await;
    let (long, longer) = ("x".repeat(7900), "x".repeat(7901));
    bus.publish("c", &["a", &longer, &long]).await.unwrap();
    listener.texts(&["a"]).await;
    assert_eq!(listener.next().await, Err("lost"));
    listener.texts(&[&long]).await;
}

#[tokio::test]
async fn lost_connection_ends_the_stream() {
    let server = Postgres::start().unwrap();
    let bus = bus(&server.url());
    let mut listener = Listener::start(&bus, "c").await;
    bus.publish("c", &["a"]).await.unwrap();
    listener.texts(&["a"]).await;
    server.kill();
    assert_eq!(listener.ended.await.unwrap().kind(), ErrorKind::Unavailable);
    server.restart().unwrap();
    let mut listener = Listener::start(&bus, "c").await;
    bus.publish("c", &["b"]).await.unwrap();
    listener.texts(&["b"]).await;
}

/// Within a deadline after the heartbeat, by the clock of the settings.
#[tokio::test]
async fn frozen_server_ends_the_stream() {
    let server = Postgres::start().unwrap();
    let clock = FakeClock::new();
    let bus = Backend::views(cache_by(&clock, &server.url(), "").backend().clone()).bus.unwrap();
    let listener = Listener::start(&bus, "c").await;
    server.freeze();
    let (error, _) = timed_by(&clock, listener.ended).await;
    let error = error.unwrap();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    server.thaw();
    let patient = self::bus(&server.url());
    let mut listener = Listener::start(&patient, "c").await;
    patient.publish("c", &["b"]).await.unwrap();
    listener.texts(&["b"]).await;
}
