//! Messages between processes: every listener gets each message once and in order, and a stream
//! that may miss one ends.

use std::{sync::Arc, time::Duration};

use cache_core::{
    Error, ErrorKind,
    store::{Backend, Bus, BusMessage},
};
use test_servers::{Proxy, Redis, RedisCluster, RedisReplicas, Sentinel, Server as _, slot_of};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use crate::support::{CLUSTER, CLUSTERED, OPTIONS, SENTINEL, SENTINELS, store};

const LIMIT: Duration = Duration::from_secs(60);
const CHANNEL: &str = "shop:bus";

/// A stream of messages, and the task that receives it.
struct Listener {
    messages: mpsc::UnboundedReceiver<String>,
    task: JoinHandle<Error>,
}

impl Listener {
    /// Listens, and returns when the stream is open.
    async fn start(store: &Arc<dyn Backend>, channel: &'static str) -> Self {
        loop {
            let (send, messages) = mpsc::unbounded_channel();
            let bus = bus(store);
            let receive = move |it: BusMessage<'_>| {
                if !matches!(it, BusMessage::Heartbeat(_)) {
                    drop(send.send(format!("{it:?}")));
                }
            };
            let task = tokio::spawn(async move { bus.listen(channel, Arc::new(receive)).await });
            let mut res = Self { messages, task };
            match timeout(LIMIT, res.messages.recv()).await.expect("a message") {
                Some(first) => {
                    assert_eq!(first, "Ready");
                    return res;
                }
                // On a slow machine, a short deadline may end before the stream is open.
                None => assert_eq!(res.ended().await.kind(), ErrorKind::TimedOut),
            }
        }
    }

    async fn next(&mut self) -> String {
        timeout(LIMIT, self.messages.recv()).await.expect("a message").expect("the stream is open")
    }

    /// Waits for the end of the stream. Returns the reason.
    async fn ended(self) -> Error {
        timeout(LIMIT, self.task).await.expect("the stream ends").unwrap()
    }
}

fn bus(store: &Arc<dyn Backend>) -> Arc<dyn Bus> {
    Arc::clone(store).views().bus.expect("a bus")
}

/// Two processes: each gets the messages of both once, in the order in which they were sent.
async fn messages_arrive(location: &[impl AsRef<str>], more: &str) {
    let (one, two) = (store(location, more), store(location, more));
    let (mut first, mut second) =
        (Listener::start(&one, CHANNEL).await, Listener::start(&two, CHANNEL).await);
    let mut foreign = Listener::start(&two, "shop:other").await;
    let numbers: Vec<_> = (0..2500).map(|it| it.to_string()).collect();
    let numbers: Vec<_> = numbers.iter().map(String::as_str).collect();
    bus(&one).publish(CHANNEL, &[]).await.unwrap();
    bus(&one).publish(CHANNEL, &numbers).await.unwrap();
    bus(&one).publish(CHANNEL, &["", "zwei\r\n", "drei ä"]).await.unwrap();
    for it in [&mut first, &mut second] {
        for number in &numbers {
            assert_eq!(it.next().await, format!("Text({number:?})"));
        }
        for text in ["", "zwei\r\n", "drei ä"] {
            assert_eq!(it.next().await, format!("Text({text:?})"));
        }
    }
    bus(&two).publish("shop:other", &["end"]).await.unwrap();
    assert_eq!(foreign.next().await, "Text(\"end\")");
    assert!(first.messages.is_empty() && second.messages.is_empty() && foreign.messages.is_empty());
}

#[tokio::test]
async fn messages_arrive_once_and_in_order() {
    for redis in [Redis::start().unwrap(), Redis::options().valkey().start().unwrap()] {
        messages_arrive(&[redis.url()], "").await;
        messages_arrive(&[redis.url()], &format!("{OPTIONS}resp = 2\n")).await;
    }
}

#[tokio::test]
async fn messages_arrive_with_replicas() {
    let group = RedisReplicas::start(1).unwrap();
    let urls = [group.leader().url(), group.replicas()[0].url()];
    messages_arrive(&urls, &format!("{OPTIONS}topology = \"replicas\"\n")).await;
}

#[tokio::test]
async fn messages_arrive_behind_sentinels() {
    let urls: Vec<_> = SENTINELS.sentinels().iter().map(Sentinel::url).collect();
    messages_arrive(&urls, &format!("{OPTIONS}{SENTINEL}")).await;
    messages_arrive(&urls, &format!("{OPTIONS}{SENTINEL}resp = 2\n")).await;
}

#[tokio::test]
async fn messages_arrive_in_a_cluster() {
    messages_arrive(&CLUSTER.urls(), &format!("{OPTIONS}{CLUSTERED}")).await;
    messages_arrive(&CLUSTER.urls(), &format!("{OPTIONS}{CLUSTERED}resp = 2\n")).await;
}

#[tokio::test]
async fn unreadable_message_is_lost() {
    let redis = Redis::start().unwrap();
    let mut listener = Listener::start(&store(&[redis.url()], ""), CHANNEL).await;
    redis.command(&["EVAL", "redis.call('PUBLISH', KEYS[1], '\\255')", "1", CHANNEL]).unwrap();
    assert_eq!(listener.next().await, "Lost");
}

#[tokio::test]
async fn user_without_the_right_gets_the_reason() {
    let rules = ["~*", "+@all", "resetchannels", "&shop:bus"];
    let redis = Redis::options().user("shop", "pw", &rules).start().unwrap();
    let store = store(&[redis.url()], "");
    let mut listener = Listener::start(&store, CHANNEL).await;
    bus(&store).publish(CHANNEL, &["1"]).await.unwrap();
    assert_eq!(listener.next().await, "Text(\"1\")");
    let errors = [
        bus(&store).publish("other", &["1"]).await.unwrap_err(),
        bus(&store).listen("other", Arc::new(|it| panic!("{it:?}"))).await,
    ];
    for error in errors {
        assert!(error.to_string().contains("NOPERM"), "{error}");
    }
}

#[tokio::test]
async fn stream_ends_with_its_server_and_is_opened_again() {
    let redis = Redis::start().unwrap();
    let store = store(&[redis.url()], "");
    for _ in 0..3 {
        let listener = Listener::start(&store, CHANNEL).await;
        redis.kill();
        let error = listener.ended().await;
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        redis.restart().unwrap();
    }
}

/// The network drops all packets silently: the heartbeat notices it.
#[tokio::test]
async fn silent_stream_ends() {
    let redis = Redis::start().unwrap();
    for more in ["deadline = \"1s\"", "deadline = \"1s\"\noptions.resp = 2"] {
        let proxy = Proxy::to(redis.address()).unwrap();
        let listener =
            Listener::start(&store(&[format!("redis://{}", proxy.address())], more), CHANNEL).await;
        proxy.swallow_open();
        let error = listener.ended().await;
        assert!(error.to_string().contains("silent"), "{error}");
    }
}

/// Another server serves the channel: the old one ends the stream, and a new one finds it.
#[tokio::test]
async fn stream_ends_when_its_slot_moves() {
    let cluster = RedisCluster::start(3, 0).unwrap();
    let slot = slot_of(CHANNEL);
    for more in [CLUSTERED.to_owned(), format!("{CLUSTERED}resp = 2\n")] {
        let store = store(&cluster.urls(), &format!("{OPTIONS}{more}"));
        let listener = Listener::start(&store, CHANNEL).await;
        let from = cluster.master_of(slot).unwrap().port();
        let to = cluster.nodes().iter().find(|it| it.port() != from).unwrap();
        cluster.move_slot(slot, to).unwrap();
        let error = listener.ended().await;
        assert!(error.to_string().contains("ended the subscription"), "{error}");
        let mut listener = Listener::start(&store, CHANNEL).await;
        bus(&store).publish(CHANNEL, &["1"]).await.unwrap();
        assert_eq!(listener.next().await, "Text(\"1\")");
    }
}
