//! Servers and networks that fail while changes are reported to the tier.

use std::time::{Duration, Instant};

use cache_core::secs;
use test_servers::Proxy;

use crate::{
    far::Far,
    support::{bypassed, in_use, near, visible, wait_until, warm},
};

#[tokio::test]
async fn tier_of_a_killed_server_is_bypassed_and_emptied() {
    for far in Far::all() {
        let reader = far.reader().await;
        for round in 0..5 {
            reader.set("k", &1, secs(600)).await.unwrap();
            warm(&reader).await;
            let resets = near(&reader).resets;
            far.server().kill();
            bypassed(&reader).await;
            let found = reader.get::<i64>("k").await.unwrap();
            assert_eq!(found, None, "a failed store reads as empty");
            far.server().restart().unwrap();
            far.write(2).await;
            in_use(&reader).await;
            visible(&reader, Some(2)).await;
            assert!(near(&reader).resets > resets, "{far:?}, round {round}");
            warm(&reader).await;
        }
    }
}

#[tokio::test]
async fn tier_of_a_frozen_server_is_bypassed_until_it_replies() {
    for far in Far::all() {
        let reader = far.hasty_reader().await;
        far.write(1).await;
        warm(&reader).await;
        far.server().freeze();
        bypassed(&reader).await;
        far.server().thaw();
        far.write(2).await;
        in_use(&reader).await;
        visible(&reader, Some(2)).await;
        warm(&reader).await;
    }
}

/// The connections are reset, and another client writes meanwhile.
#[tokio::test]
async fn write_while_the_network_is_cut_is_visible_afterwards() {
    for far in Far::all() {
        let proxy = Proxy::to(far.server().address()).unwrap();
        let reader = far.reader_through(&proxy).await;
        for round in 1..20 {
            reader.set("k", &-round, secs(600)).await.unwrap();
            warm(&reader).await;
            proxy.refuse();
            proxy.cut();
            far.write(round).await;
            bypassed(&reader).await;
            proxy.pass();
            in_use(&reader).await;
            visible(&reader, Some(round)).await;
        }
    }
}

/// The network drops all packets silently: the heartbeat notices it.
#[tokio::test]
async fn silent_connection_is_noticed_long_before_the_timeout() {
    for far in Far::all() {
        let proxy = Proxy::to(far.server().address()).unwrap();
        let reader = far.hasty_reader_through(&proxy).await;
        far.write(1).await;
        warm(&reader).await;
        proxy.swallow_open();
        far.write(2).await;
        let began = Instant::now();
        visible(&reader, Some(2)).await;
        let took = began.elapsed();
        println!("{far:?}: visible after {took:?}");
        assert!(took < Duration::from_secs(15), "{took:?}: half of the default of near.timeout");
        in_use(&reader).await;
        warm(&reader).await;
    }
}

/// An operator ends the connections of the client.
#[tokio::test]
async fn killed_connection_is_made_again() {
    for far in Far::all() {
        let reader = far.reader().await;
        for round in 1..50 {
            reader.set("k", &-round, secs(600)).await.unwrap();
            warm(&reader).await;
            let resets = near(&reader).resets;
            far.end_connections().await;
            far.write(round).await;
            visible(&reader, Some(round)).await;
            wait_until("the stream began anew", async || near(&reader).resets > resets).await;
        }
    }
}

#[tokio::test]
async fn closed_tier_begins_anew() {
    for far in Far::all() {
        let reader = far.reader().await;
        for round in 1..20 {
            reader.set("k", &-round, secs(600)).await.unwrap();
            warm(&reader).await;
            reader.close().await.unwrap();
            far.write(round).await;
            assert_eq!(reader.get::<i64>("k").await.unwrap(), Some(round));
            in_use(&reader).await;
            warm(&reader).await;
        }
    }
}
