//! From a request to its response: the first one, or a repetition.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use cache_core::Result;
use http::{Request, Response, request::Parts};
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tower_service::Service;

use super::{
    body::IdempotencyBody,
    claim::{Begin, Claim},
    problem::Problem,
    record::{Kept, Record, State},
    request,
    settings::Settings,
};

/// The first and the longest pause between two reads of a record, as those of locks.
const FIRST_PAUSE: Duration = Duration::from_millis(4);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// The outcome of the decision about a request.
pub(super) enum Next {
    /// Execute it, and store the response with the claim.
    Execute(Claim),
    /// Execute it without a record: the store failed, and the settings allow it.
    ExecuteAnyway,
    Respond(Response<Bytes>),
}

/// Reads the body of a request to its end.
pub(super) async fn read<B>(body: B, limit: usize) -> Result<Bytes, Problem>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::RequestTooLarge),
        Err(_) => Err(Problem::RequestUnreadable),
    }
}

/// Decides whether a request is executed, and waits for another execution as the settings say.
pub(super) async fn decide(
    settings: &Settings,
    parts: &Parts,
    key: &str,
    body: &[u8],
) -> Result<Next, Problem> {
    let principal = (settings.principal)(parts).ok_or(Problem::NoPrincipal)?;
    let scope = request::scope(&principal, key);
    let fingerprint = request::fingerprint(parts, body);
    let clock = settings.cache.clock();
    let end = clock.now().saturating_add(settings.wait);
    let mut pause = FIRST_PAUSE;
    loop {
        match Claim::begin(settings, &scope, &fingerprint).await {
            Ok(Begin::First(claim)) => return Ok(Next::Execute(claim)),
            Ok(Begin::Found(record)) => {
                if let Some(response) = repetition(record, &fingerprint) {
                    return response.map(Next::Respond);
                }
            }
            Ok(Begin::Unknown) => {}
            Err(error) if error.kind().fails_open() && settings.run_on_failure => {
                return Ok(Next::ExecuteAnyway);
            }
            Err(error) => return Err(error.into()),
        }
        let left = end.saturating_sub(clock.now());
        if left.is_zero() {
            return Err(Problem::Outstanding);
        }
        clock.sleep(pause.min(left)).await;
        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
}

/// Returns the response to a repetition, or `None` while the first request is executed.
fn repetition(record: Record, fingerprint: &str) -> Option<Result<Response<Bytes>, Problem>> {
    if record.fingerprint != fingerprint {
        return Some(Err(Problem::PayloadDiffers));
    }
    match record.state {
        State::Running(_) => None,
        State::Done(kept) => Some(Ok(kept.replay())),
        State::NotKept => Some(Err(Problem::ResponseNotKept)),
    }
}

/// Executes a request, and stores its response before it is returned.
pub(super) async fn execute<S, Q, B>(
    mut service: S,
    request: Request<Q>,
    claim: Claim,
    settings: Arc<Settings>,
) -> Result<Response<IdempotencyBody<B>>, S::Error>
where
    S: Service<Request<Q>, Response = Response<B>>,
    B: Body<Data = Bytes> + Unpin,
{
    let response = service.call(request).await?;
    if !(settings.stores)(response.status()) {
        // A failure leaves the key to the end of the lease.
        let _ = claim.release().await;
        return Ok(response.map(|body| IdempotencyBody::with_rest(Bytes::new(), body)));
    }
    let (state, response) = collect(response, &settings).await;
    store(claim, state, settings).await;
    Ok(response)
}

/// Reads the body, up to the limit, and returns what to store and what to send.
async fn collect<B>(
    response: Response<B>,
    settings: &Settings,
) -> (State, Response<IdempotencyBody<B>>)
where
    B: Body<Data = Bytes> + Unpin,
{
    let limit = settings.max_response;
    let (parts, mut body) = response.into_parts();
    let mut read = BytesMut::new();
    // A body whose length is known to be too large is not read at all.
    let mut is_too_large = body.size_hint().lower() > limit as u64;
    while !is_too_large {
        match body.frame().await {
            None => {
                let read = read.freeze();
                let response = Response::from_parts(parts, IdempotencyBody::full(read.clone()));
                return (State::Done(Kept::new(&response, read, &settings.headers)), response);
            }
            Some(Ok(frame)) => {
                // Trailers are not kept.
                if let Ok(data) = frame.into_data() {
                    read.extend_from_slice(&data);
                    is_too_large = read.len() > limit;
                }
            }
            Some(Err(_)) => {
                let response = Problem::ResponseFailed.response();
                let kept = response.body().clone();
                let kept = Kept::new(&response, kept, &settings.headers);
                return (State::Done(kept), response.map(IdempotencyBody::full));
            }
        }
    }
    let body = IdempotencyBody::with_rest(read.freeze(), body);
    (State::NotKept, Response::from_parts(parts, body))
}

/// Stores the result of an execution. While the store fails, further tries follow in the
/// background for the time of the lease, which is renewed meanwhile.
async fn store(claim: Claim, mut state: State, settings: Arc<Settings>) {
    let lifetime = settings.lifetime;
    let Err(mut error) = claim.finish(state.clone(), lifetime).await else { return };
    if !error.kind().fails_open() {
        // The store does not take a response of this size, and has deleted the running record.
        state = State::NotKept;
        match claim.finish(state.clone(), lifetime).await {
            Ok(()) => return,
            Err(it) => error = it,
        }
    }
    if !error.kind().fails_open() {
        return;
    }
    tokio::spawn(async move {
        let clock = settings.cache.clock();
        let end = clock.now().saturating_add(settings.lease);
        while claim.finish(state.clone(), lifetime).await.is_err() && clock.now() < end {
            clock.sleep(Duration::from_secs(1)).await;
        }
    });
}

/// The response to a request that never reached the service.
pub(super) fn respond<B>(problem: Problem) -> Response<IdempotencyBody<B>> {
    problem.response().map(IdempotencyBody::full)
}
