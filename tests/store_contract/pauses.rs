//! The last word on a type's pause stands in both stores, in whatever order the words come.

use settled::clock::Clock;
use settled::domain::order::TypeName;
use settled::store::memory::MemoryStore;
use settled::store::operator::{OperatorStore, TypePause};
use settled::store::redis::RedisStore;

use super::redis_server::RedisServer;

fn word(order_type: &str, at: u64, paused: bool) -> TypePause {
    TypePause {
        order_type: TypeName::new(order_type).unwrap(),
        at,
        paused,
        actor: "li.wei".to_owned(),
        reason: format!("\"said\" at {at} \u{4f60}"),
    }
}

async fn the_last_word_stands(store: &impl OperatorStore) {
    assert_eq!(store.pauses().await.unwrap(), []);
    let paused = word("transfer", 1_800_000_000_001, true);
    assert_eq!(store.put_pause(&paused).await.unwrap(), paused);
    assert_eq!(store.put_pause(&paused).await.unwrap(), paused, "a repeat");
    let late = word("transfer", 1_800_000_000_000, false);
    assert_eq!(
        store.put_pause(&late).await.unwrap(),
        paused,
        "an older word"
    );
    let other = word("pay_2", 7, true);
    assert_eq!(store.put_pause(&other).await.unwrap(), other);
    assert_eq!(store.pauses().await.unwrap(), [other.clone(), paused]);
    let resumed = word("transfer", 1_800_000_000_002, false);
    assert_eq!(store.put_pause(&resumed).await.unwrap(), resumed);
    assert_eq!(store.pauses().await.unwrap(), [other, resumed]);
}

#[tokio::test]
async fn the_last_word_on_a_pause_stands_in_memory() {
    the_last_word_stands(&MemoryStore::new(Clock::start())).await;
}

#[tokio::test]
async fn the_last_word_on_a_pause_stands_in_redis_even_when_it_is_full() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let store = RedisStore::connect(&server.urls(), "app:").await.unwrap();
    the_last_word_stands(&store).await;
    let mut redis = server.connect();
    let full: () = redis::cmd("CONFIG")
        .arg(&["SET", "maxmemory", "1"])
        .query(&mut redis)
        .unwrap();
    let () = full;
    let again = word("transfer", 1_800_000_000_003, true);
    assert_eq!(store.put_pause(&again).await.unwrap(), again);
    let first = word("new", 1, true);
    assert_eq!(store.put_pause(&first).await.unwrap(), first);
}
