//! A client that holds every answer against the contract.

use std::net::SocketAddr;

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        // A second test in the same process finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { http: reqwest::Client::new(), base: format!("http://{address}"), token: None }
    }

    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    pub(crate) fn token(&self) -> &str {
        self.token.as_deref().expect("it is signed in")
    }

    /// A request that a test makes by hand, with the token in it.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.request(Method::POST, path).json(&body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.request(Method::PUT, path).json(&body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.request(Method::PATCH, path).json(&body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::DELETE, path)).await
    }

    pub(crate) async fn upload(&self, component: &[u8]) -> Answer {
        let request = self.request(Method::POST, "/api/policies").header("content-type", "application/wasm");
        Answer::of(request.body(component.to_vec())).await
    }

    /// The same change, under an idempotency key.
    pub(crate) async fn keyed(&self, key: &str, method: Method, path: &str, body: Value) -> Answer {
        Answer::of(self.request(method, path).header("idempotency-key", key).json(&body)).await
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        Self::read(request.send().await.expect("an answer")).await
    }

    async fn read(response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.expect("a body");
        let body =
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status} with a body that is not JSON: {text}"));
        let answer = Self { status, headers, body };
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cache-control"), "no-store");
        answer.body["timestamp"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok()).expect("a time");
        answer
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(HeaderValue::to_str).expect("the header is there").expect("it is text")
    }

    /// `data` of a success.
    #[track_caller]
    pub(crate) fn data(self, status: u16) -> Value {
        assert_eq!((self.status.as_u16(), &self.body["success"]), (status, &Value::Bool(true)), "{}", self.body);
        self.body["data"].clone()
    }

    #[track_caller]
    pub(crate) fn id(self, status: u16) -> String {
        self.data(status)["id"].as_str().expect("an id").to_owned()
    }

    #[track_caller]
    pub(crate) fn list(self) -> Vec<Value> {
        self.data(200).as_array().expect("a list").clone()
    }

    /// The words of a failure, with all its fields in them.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> String {
        let body = &self.body;
        assert_eq!((self.status.as_u16(), body["code"].as_str()), (status, Some(code)), "{body}");
        assert_eq!((&body["success"], body.get("data")), (&Value::Bool(false), None), "{body}");
        assert_eq!(body["requestId"].as_str(), Some(self.header("x-request-id")));
        for detail in body["details"].as_array().into_iter().flatten() {
            assert!(!detail["field"].as_str().unwrap().is_empty() && !detail["problem"].as_str().unwrap().is_empty());
        }
        body["error"].as_str().filter(|error| !error.is_empty()).expect("a problem in words").to_owned()
    }

    /// The fields that a validation names.
    #[track_caller]
    pub(crate) fn wrong_fields(self) -> Vec<String> {
        let details = self.body["details"].as_array().cloned().unwrap_or_default();
        self.refused(400, "validation_failed");
        details.iter().map(|detail| detail["field"].as_str().unwrap().to_owned()).collect()
    }

    #[track_caller]
    pub(crate) fn not_found(self) -> String {
        self.refused(404, "not_found")
    }
}
