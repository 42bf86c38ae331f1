//! Sessions of a service on actix.

use std::collections::HashMap;

use actix_session::{
    Session, SessionMiddleware,
    config::{PersistentSession, TtlExtensionPolicy},
    storage::{SaveError, SessionKey, SessionStore, UpdateError},
};
use actix_web::{
    App, Error, HttpResponse,
    cookie::{Cookie, Key, time::Duration},
    dev::{Service, ServiceResponse},
    http::StatusCode,
    test::{TestRequest, init_service},
    web::{self, Path},
};
use cache_core::{
    Cache, ErrorKind, Ttl,
    testing::{Fault, Faulty},
};
use cache_memory::Memory;
use cache_tower::session::{CacheSessionStore, SessionRejected};
use test_servers::{Redis, Server as _};

use crate::{
    store::key_of,
    support::{on_each_store, on_redis},
};

const HOUR: Duration = Duration::hours(1);

async fn get(session: Session, name: Path<String>) -> Result<HttpResponse, Error> {
    let value = session.get::<String>(&name)?.unwrap_or_default();
    Ok(HttpResponse::Ok().body(value))
}

async fn set(session: Session, pair: Path<(String, String)>) -> Result<HttpResponse, Error> {
    session.insert(&pair.0, &pair.1)?;
    Ok(HttpResponse::Ok().finish())
}

async fn login(session: Session, user: Path<String>) -> Result<HttpResponse, Error> {
    session.renew();
    session.insert("user", user.as_str())?;
    Ok(HttpResponse::Ok().finish())
}

async fn logout(session: Session) -> HttpResponse {
    session.purge();
    HttpResponse::Ok().finish()
}

/// Returns a service with sessions in a cache.
async fn service(
    cache: &Cache,
) -> impl AsyncFn(TestRequest) -> Result<ServiceResponse, Error> + use<> {
    let lifecycle = PersistentSession::default()
        .session_ttl(HOUR)
        .session_ttl_extension_policy(TtlExtensionPolicy::OnEveryRequest);
    let store = CacheSessionStore::new(cache);
    let sessions = SessionMiddleware::builder(store, Key::from(&[7; 64]));
    let app = App::new()
        .wrap(sessions.session_lifecycle(lifecycle).build())
        .route("/get/{name}", web::get().to(get))
        .route("/set/{name}/{value}", web::get().to(set))
        .route("/login/{user}", web::get().to(login))
        .route("/logout", web::get().to(logout));
    let service = init_service(app).await;
    async move |request: TestRequest| service.call(request.to_request()).await
}

#[derive(Clone, Default)]
struct Client(Option<Cookie<'static>>);

impl Client {
    async fn get(
        &mut self,
        service: &impl AsyncFn(TestRequest) -> Result<ServiceResponse, Error>,
        path: &str,
    ) -> (StatusCode, String) {
        let mut request = TestRequest::get().uri(path);
        if let Some(cookie) = &self.0 {
            request = request.cookie(cookie.clone());
        }
        let response = match service(request).await {
            Ok(response) => response.into_parts().1,
            // A server would make this response.
            Err(error) => error.error_response(),
        };
        if let Some(cookie) = response.cookies().next() {
            let is_removed = cookie.max_age() == Some(Duration::ZERO);
            self.0 = (!is_removed).then(|| cookie.into_owned());
        }
        let status = response.status();
        let body = actix_web::body::to_bytes(response.into_body()).await.ok();
        (status, String::from_utf8(body.unwrap_or_default().to_vec()).unwrap())
    }
}

#[tokio::test]
async fn session_lasts_until_logout() {
    on_each_store(async |cache: Cache| {
        let service = service(&cache).await;
        let (mut ada, mut bob) = (Client::default(), Client::default());
        ada.get(&service, "/set/cart/book").await;
        let before = ada.clone();
        ada.get(&service, "/login/ada").await;
        bob.get(&service, "/login/bob").await;
        ada.get(&service, "/set/cart/pen").await;
        assert_eq!(ada.get(&service, "/get/user").await.1, "ada");
        assert_eq!(ada.get(&service, "/get/cart").await.1, "pen");
        assert_eq!(bob.get(&service, "/get/user").await.1, "bob");
        assert_eq!(before.clone().get(&service, "/get/cart").await.1, "", "another id");
        let mut thief = ada.clone();
        ada.get(&service, "/logout").await;
        assert!(ada.0.is_none());
        assert_eq!(thief.get(&service, "/get/user").await.1, "");
    })
    .await;
}

async fn fails_and_keeps_its_cookie(
    client: &mut Client,
    service: &impl AsyncFn(TestRequest) -> Result<ServiceResponse, Error>,
) {
    let cookie = client.0.clone();
    for path in ["/get/user", "/set/cart/pen", "/logout"] {
        assert_eq!(client.get(service, path).await.0, 500, "{path}");
        assert_eq!(client.0, cookie, "{path}");
    }
}

#[tokio::test]
async fn failing_store_logs_no_user_out() {
    let faulty = Faulty::new(Memory::new());
    let cache = Cache::builder(std::sync::Arc::new(faulty.clone())).build("sessions").unwrap();
    let service = service(&cache).await;
    let mut client = Client::default();
    client.get(&service, "/login/ada").await;
    faulty.inject(|_| Fault::Error(ErrorKind::Unavailable));
    fails_and_keeps_its_cookie(&mut client, &service).await;
    faulty.heal();
    assert_eq!(client.get(&service, "/get/user").await.1, "ada");
}

#[tokio::test]
async fn killed_server_fails_requests() {
    let redis = Redis::start().unwrap();
    let service = service(&on_redis(&redis.url())).await;
    let mut client = Client::default();
    client.get(&service, "/login/ada").await;
    redis.kill();
    fails_and_keeps_its_cookie(&mut client, &service).await;
}

fn state(text: &str) -> HashMap<String, String> {
    HashMap::from([("n".to_owned(), text.to_owned())])
}

#[tokio::test]
async fn concurrent_updates_lose_nothing() {
    on_each_store(async |cache: Cache| {
        let store = CacheSessionStore::new(&cache);
        let key = store.save(state("0"), &HOUR).await.unwrap();
        let key = || SessionKey::try_from(key.as_ref().to_owned()).unwrap();
        let mut states = Vec::new();
        for _ in 0..3 {
            states.push(SessionStore::load(&store, &key()).await.unwrap().unwrap());
        }
        states[0].insert("n".into(), "1".into());
        states[1].insert("m".into(), "2".into());
        states[2].insert("n".into(), "3".into());
        let mut states = states.into_iter();
        for _ in 0..2 {
            store.update(key(), states.next().unwrap(), &HOUR).await.unwrap();
        }
        let Err(UpdateError::Other(error)) =
            store.update(key(), states.next().unwrap(), &HOUR).await
        else {
            panic!("a change was lost")
        };
        assert_eq!(error.downcast_ref(), Some(&SessionRejected::Conflict));
        let state = SessionStore::load(&store, &key()).await.unwrap().unwrap();
        assert_eq!((state["n"].as_str(), state["m"].as_str()), ("1", "2"));
    })
    .await;
}

#[tokio::test]
async fn update_does_not_bring_a_deleted_session_back() {
    on_each_store(async |cache: Cache| {
        let store = CacheSessionStore::new(&cache);
        let key = store.save(state("0"), &HOUR).await.unwrap();
        let stored = key_of(key.as_ref());
        let mut late = SessionStore::load(&store, &key).await.unwrap().unwrap();
        SessionStore::delete(&store, &key).await.unwrap();
        store.update_ttl(&key, &HOUR).await.unwrap();
        late.insert("n".into(), "1".into());
        let res = store.update(key, late, &HOUR).await;
        let Err(UpdateError::Other(error)) = res else { panic!("the session is back") };
        assert_eq!(error.downcast_ref(), Some(&SessionRejected::Deleted));
        assert!(!cache.has_key(&stored).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn lifetime_is_that_of_the_last_call() {
    on_each_store(async |cache: Cache| {
        let store = CacheSessionStore::new(&cache);
        let key = store.save(state("0"), &Duration::minutes(1)).await.unwrap();
        let stored = key_of(key.as_ref());
        let ttl = async || match cache.ttl(&stored).await.unwrap() {
            Some(Ttl::Remaining(left)) => left.as_secs(),
            other => panic!("{other:?}"),
        };
        assert!(ttl().await <= 60);
        store.update_ttl(&key, &HOUR).await.unwrap();
        assert!((61..=3600).contains(&ttl().await));
    })
    .await;
}

#[tokio::test]
async fn errors_have_their_cause() {
    let faulty = Faulty::new(Memory::new());
    let cache = Cache::builder(std::sync::Arc::new(faulty.clone())).build("sessions").unwrap();
    faulty.inject(|_| Fault::Error(ErrorKind::TimedOut));
    let Err(SaveError::Other(error)) = CacheSessionStore::new(&cache).save(state("0"), &HOUR).await
    else {
        panic!("nothing was stored")
    };
    let error = error.downcast_ref::<cache_core::Error>().unwrap();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}
