//! An owner of orders whose answers a test decides one by one, and which remembers every question.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

type Books = Arc<Mutex<(HashMap<String, &'static str>, Vec<(Instant, Value)>)>>;

/// A query interface. Orders of which nothing was said are in progress.
pub struct Owner {
    /// Where it listens.
    pub at: SocketAddr,
    books: Books,
    _serving: JoinSet<()>,
}

impl Owner {
    /// Listens on a free port until dropped.
    pub async fn start() -> Self {
        let books = Books::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let routes = Router::new().route("/query", post(answer));
        let serve = axum::serve(listener, routes.with_state(Arc::clone(&books)));
        let mut serving = JoinSet::new();
        serving.spawn(async move { serve.await.unwrap() });
        Self {
            at,
            books,
            _serving: serving,
        }
    }

    /// From now on, this status is the answer for this order.
    pub fn says(&self, req_no: &str, status: &'static str) {
        let mut books = self.books.lock().unwrap();
        books.0.insert(req_no.to_owned(), status);
    }

    /// The questions about an order, as they came.
    pub fn questions(&self, req_no: &str) -> Vec<Value> {
        let books = self.books.lock().unwrap();
        let about = books
            .1
            .iter()
            .map(|(_, question)| question)
            .filter(|question| question["reqNO"] == req_no);
        about.cloned().collect()
    }

    /// When each question came, all orders.
    pub fn times(&self) -> Vec<Instant> {
        let books = self.books.lock().unwrap();
        books.1.iter().map(|(at, _)| *at).collect()
    }
}

async fn answer(State(books): State<Books>, Json(question): Json<Value>) -> Json<Value> {
    let mut books = books.lock().unwrap();
    let req_no = question["reqNO"].clone();
    let status = req_no.as_str().and_then(|req_no| books.0.get(req_no));
    let status = *status.unwrap_or(&"3");
    books.1.push((Instant::now(), question));
    Json(json!({
        "status": status, "reqNO": req_no, "rspNO": "B1", "retCd": "0000", "retMsg": "said so",
        "data": {"teller": 7},
    }))
}
