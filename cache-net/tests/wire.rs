//! Many calls on one connection: order, faults, bounds.

use std::{
    future::poll_fn,
    io::{Read as _, Write as _},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::{Buf as _, BufMut as _, BytesMut};
use cache_core::{Clock, Error, ErrorKind, Result};
use cache_net::{Decode, Decoded, Dialer, Peek, Socket, Wire};
use futures_util::{FutureExt as _, future::join_all};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Handle,
};

/// Replies with their length before them. A length of 0 is an error.
struct Sized;

impl Decode for Sized {
    type Reply = Vec<u8>;

    fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded<Vec<u8>>> {
        let Some(head) = input.first_chunk::<4>() else {
            return Ok(Decoded::Incomplete { missing: 4 - input.len() });
        };
        let len = u32::from_be_bytes(*head) as usize;
        if len == 0 {
            return Err(Error::new(ErrorKind::Unavailable, "a reply without bytes"));
        }
        if input.len() < 4 + len {
            return Ok(Decoded::Incomplete { missing: 4 + len - input.len() });
        }
        input.advance(4);
        Ok(Decoded::Reply(input.split_to(len).to_vec()))
    }
}

fn request(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(bytes.len().try_into().unwrap());
    out.put_slice(bytes);
}

async fn pair() -> (Wire<Sized>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dialer = Dialer::new(Duration::from_secs(20), Clock::system());
    let stream = dialer.connect("127.0.0.1", listener.local_addr().unwrap().port()).await.unwrap();
    // Large requests are written in parts.
    socket2::SockRef::from(&stream).set_send_buffer_size(16 << 10).unwrap();
    let (socket, handle) = Socket::new(stream);
    (Wire::plain(&Handle::current(), socket, handle, Sized), listener.accept().await.unwrap().0)
}

async fn echo(mut server: TcpStream) {
    let (mut read, mut write) = server.split();
    let _ = tokio::io::copy(&mut read, &mut write).await;
}

/// Polls the future once, and drops it.
async fn begin(future: impl Future) {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let _ = future.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_call_gets_its_own_replies() {
    let (wire, server) = pair().await;
    let server = tokio::spawn(echo(server));
    let wire = Arc::new(wire);
    let tasks: Vec<_> = (0..64_u32)
        .map(|task| {
            let wire = Arc::clone(&wire);
            tokio::spawn(async move {
                for round in 0..200_u32 {
                    // Now and then more than the writer can write at once.
                    let most = if round % 20 == 19 { 300_000 } else { 3000 };
                    let len = 1 + ((task * 7919 + round * 104_729) % most) as usize;
                    let mut bytes = vec![7; len];
                    let id = [task.to_be_bytes(), round.to_be_bytes()].concat();
                    bytes.extend_from_slice(&id);
                    if round % 3 == 0 {
                        let replies = wire.call_many(3, |out| {
                            for _ in 0..3 {
                                request(out, &bytes);
                            }
                        });
                        assert_eq!(replies.await.unwrap(), vec![bytes; 3]);
                    } else if round % 5 == 0 {
                        let mut encoded = BytesMut::new();
                        request(&mut encoded, &bytes);
                        request(&mut encoded, b"two");
                        let replies = wire.call_encoded(2, encoded).await.unwrap();
                        assert_eq!(replies, [bytes, b"two".to_vec()]);
                    } else if round % 7 == 0 {
                        begin(wire.call(|out| request(out, &bytes))).await;
                    } else {
                        let reply = wire.call(|out| request(out, &bytes)).await.unwrap();
                        assert_eq!(reply, bytes);
                    }
                }
            })
        })
        .collect();
    for it in tasks {
        it.await.unwrap();
    }
    // The replies of the calls that were dropped arrive, too.
    wire.call(|out| request(out, b"the last")).await.unwrap();
    assert!(!wire.is_busy() && !wire.is_closed());
    drop(wire);
    server.await.unwrap();
}

/// On one thread, so the task that writes cannot run between the calls.
#[tokio::test]
async fn server_receives_many_calls_while_further_ones_are_made() {
    let (wire, server) = pair().await;
    let server = server.into_std().unwrap();
    server.set_nonblocking(false).unwrap();
    server.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut calls: Vec<_> =
        (0..40_u8).map(|n| Box::pin(wire.call(move |out| request(out, &[n])))).collect();
    for call in &mut calls {
        assert!(call.as_mut().now_or_never().is_none());
    }
    // A call writes when half of the calls under way wait: the last one that does is the 33rd.
    let mut received = [0; 33 * 5];
    (&server).read_exact(&mut received).unwrap();
    assert!(received.chunks(5).zip(0..).all(|(it, n)| it == [0, 0, 0, 1, n]));
    (&server).write_all(&received).unwrap();
    let echoes = std::thread::spawn(move || {
        let mut rest = [0; 7 * 5];
        (&server).read_exact(&mut rest).unwrap();
        (&server).write_all(&rest).unwrap();
    });
    for (call, n) in calls.into_iter().zip(0..) {
        assert_eq!(call.await.unwrap(), [n]);
    }
    echoes.join().unwrap();
}

/// On one thread, so the task that writes cannot run before the read.
#[tokio::test]
async fn server_receives_the_first_call_before_the_others_also_after_calls_that_came_together() {
    let (wire, server) = pair().await;
    let server = server.into_std().unwrap();
    server.set_nonblocking(false).unwrap();
    server.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    for round in 0..3_u8 {
        let mut calls: Vec<_> =
            (0..8_u8).map(|n| Box::pin(wire.call(move |out| request(out, &[round, n])))).collect();
        assert!(calls[0].as_mut().now_or_never().is_none());
        let mut first = [0; 6];
        (&server).read_exact(&mut first).unwrap();
        assert_eq!(first, [0, 0, 0, 2, round, 0]);
        for call in &mut calls[1..] {
            assert!(call.as_mut().now_or_never().is_none());
        }
        let server = server.try_clone().unwrap();
        let echoes = std::thread::spawn(move || {
            let mut rest = [0; 7 * 6];
            (&server).read_exact(&mut rest).unwrap();
            (&server).write_all(&first).unwrap();
            (&server).write_all(&rest).unwrap();
        });
        for (call, n) in calls.into_iter().zip(0..) {
            assert_eq!(call.await.unwrap(), [round, n]);
        }
        echoes.join().unwrap();
    }
}

/// A large request is written in many steps. Between two of them, the socket has room.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_calls_do_not_come_into_the_middle_of_a_large_request() {
    let (wire, server) = pair().await;
    let server = tokio::spawn(echo(server));
    let wire = Arc::new(wire);
    let is_over = Arc::new(AtomicBool::new(false));
    let many = (0..4).map(|_| {
        let (wire, is_over) = (Arc::clone(&wire), Arc::clone(&is_over));
        tokio::spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                let calls = (0..100_u8).map(|n| wire.call(move |out| request(out, &[n])));
                for (reply, n) in join_all(calls).await.into_iter().zip(0..) {
                    assert_eq!(reply.unwrap(), [n]);
                }
            }
        })
    });
    let many: Vec<_> = many.collect();
    let large = vec![7; 1 << 20];
    for _ in 0..100 {
        let mut encoded = BytesMut::new();
        request(&mut encoded, &large);
        assert!(wire.call_encoded(1, encoded).await.unwrap() == [&large[..]]);
    }
    is_over.store(true, Ordering::SeqCst);
    for it in many {
        it.await.unwrap();
    }
    drop(wire);
    server.await.unwrap();
}

#[tokio::test]
async fn call_of_no_requests_has_no_replies() {
    let (wire, _server) = pair().await;
    assert_eq!(wire.call_many(0, |_| ()).await.unwrap(), Vec::<Vec<u8>>::new());
    assert_eq!(wire.call_encoded(0, BytesMut::new()).await.unwrap(), Vec::<Vec<u8>>::new());
    assert!(!wire.is_busy());
}

#[tokio::test]
async fn calls_of_a_lost_connection_fail_and_tell_what_was_sent() {
    let (wire, server) = pair().await;
    let one = wire.call(|out| request(out, b"one"));
    let many = wire.call_many(2, |out| {
        request(out, b"two");
        request(out, b"three");
    });
    let (one, many, ()) = tokio::join!(one, many, async {
        let mut server = server;
        // All requests: a close with unread bytes would be a reset.
        server.read_exact(&mut [0; 23]).await.unwrap();
        // One of three replies.
        server.write_all(&[0, 0, 0, 1, 7]).await.unwrap();
    });
    assert_eq!(one.unwrap(), [7]);
    let lost = many.unwrap_err();
    assert!(lost.was_sent);
    assert_eq!(lost.error.kind(), ErrorKind::Unavailable);
    assert!(lost.error.message().starts_with("the connection was lost"), "{}", lost.error);
    wire.closed().await;
    let lost = wire.call(|out| request(out, b"late")).await.unwrap_err();
    assert!(!lost.was_sent && wire.is_closed());
    assert!(wire.is_busy(), "the server may still execute the requests");
}

/// A long reply that arrives slowly shows that the connection is alive.
#[tokio::test]
async fn bytes_of_an_incomplete_reply_are_counted() {
    let (wire, mut server) = pair().await;
    let call = wire.call(|out| request(out, b"one"));
    let (reply, ()) = tokio::join!(call, async {
        let mut sent = 0;
        for piece in [&[0, 0, 0, 5][..], b"re", b"p"] {
            server.write_all(piece).await.unwrap();
            sent += piece.len() as u64;
            while wire.received() < sent {
                tokio::task::yield_now().await;
            }
        }
        assert!(wire.is_busy());
        server.write_all(b"ly").await.unwrap();
    });
    assert_eq!((reply.unwrap(), wire.received()), (b"reply".to_vec(), 9));
}

#[tokio::test]
async fn bytes_of_another_protocol_end_the_connection() {
    let (wire, mut server) = pair().await;
    let (lost, written) =
        tokio::join!(wire.call(|out| request(out, b"one")), server.write_all(&[0; 4]));
    written.unwrap();
    assert_eq!(lost.unwrap_err().error.message(), "a reply without bytes");
    assert!(wire.is_closed());
}

#[tokio::test]
async fn reply_without_a_request_ends_the_connection() {
    let (wire, mut server) = pair().await;
    server.write_all(&[0, 0, 0, 1, 7]).await.unwrap();
    wire.closed().await;
    let lost = wire.call(|out| request(out, b"one")).await.unwrap_err();
    assert!(lost.error.message().contains("a reply without a request"), "{}", lost.error);
}

#[tokio::test]
async fn abort_ends_all_calls_and_sends_nothing_more() {
    let (wire, mut server) = pair().await;
    let much = vec![1; Wire::<Sized>::UNSENT_LIMIT];
    let (lost, ()) = tokio::join!(wire.call(|out| request(out, &much)), async {
        assert!(wire.is_busy());
        wire.abort();
    });
    assert!(lost.unwrap_err().was_sent && wire.is_closed());
    assert_eq!(wire.peek(), Peek::Closed);
    let mut received = Vec::new();
    assert!(server.read_to_end(&mut received).await.is_err());
    assert!(received.len() < much.len());
}

#[tokio::test]
async fn calls_wait_while_too_many_bytes_are_unsent() {
    let (wire, server) = pair().await;
    let wire = Arc::new(wire);
    let appended = Arc::new(AtomicUsize::new(0));
    let bytes = Arc::new(vec![3; 256 << 10]);
    let calls: Vec<_> = (0..256)
        .map(|_| {
            let (wire, appended, bytes) =
                (Arc::clone(&wire), Arc::clone(&appended), Arc::clone(&bytes));
            tokio::spawn(async move {
                let call = wire.call(|out| {
                    appended.fetch_add(1, Ordering::Relaxed);
                    request(out, &bytes);
                });
                call.await.map(|it| it.len())
            })
        })
        .collect();
    // Nothing is read, so the buffers of the system fill first, and then those of the connection.
    let mut before = 0;
    loop {
        // sleeps: only the absence of progress shows that all of them wait.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = appended.load(Ordering::Relaxed);
        if now == before && now > 0 {
            break;
        }
        before = now;
    }
    assert!(before < calls.len(), "{before} calls were buffered");
    let server = tokio::spawn(echo(server));
    for it in calls {
        assert_eq!(it.await.unwrap().unwrap(), bytes.len());
    }
    drop(wire);
    server.await.unwrap();
}

#[tokio::test]
async fn calls_that_wait_for_room_fail_with_the_connection() {
    let (wire, server) = pair().await;
    let bytes = vec![3; 2 * Wire::<Sized>::UNSENT_LIMIT];
    let first = wire.call(|out| request(out, &bytes));
    let second = wire.call(|out| request(out, &bytes));
    let third = wire.call(|out| request(out, b"small"));
    let ((first, second, third), ()) =
        tokio::join!(async { tokio::join!(first, second, third) }, async { drop(server) });
    assert!(first.is_err());
    for it in [second, third] {
        assert!(!it.unwrap_err().was_sent);
    }
}

#[test]
fn calls_fail_when_the_runtime_of_the_connection_shuts_down() {
    let other = tokio::runtime::Runtime::new().unwrap();
    let (wire, _server) = other.block_on(pair());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (lost, ()) = tokio::join!(wire.call(|out| request(out, b"one")), async {
            other.shutdown_background();
        });
        assert_eq!(lost.unwrap_err().error.kind(), ErrorKind::Unavailable);
        assert!(wire.is_closed());
    });
}

/// A server that answered with other bytes must not execute what was not delivered by then: its
/// callers have been told that the connection was lost.
#[tokio::test]
async fn connection_that_ends_with_an_error_sends_nothing_more() {
    let (wire, mut server) = pair().await;
    let much = vec![1; 64 << 20];
    let call = wire.call(|out| request(out, &much));
    let (lost, written) = tokio::join!(call, server.write_all(&[0; 4]));
    written.unwrap();
    assert!(lost.unwrap_err().was_sent);
    let mut received = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(20), server.read_to_end(&mut received));
    assert!(end.await.expect("the connection is reset").is_err());
    assert!(received.len() < much.len());
}
