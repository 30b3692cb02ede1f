use super::*;

const LONG: Duration = Duration::from_hours(1);

fn flights(limits: Limits) -> Flights<u32, u32> {
    Flights::new(limits, Clock::start(), TaskTracker::new())
}

fn roomy() -> Limits {
    Limits {
        in_air: 100,
        kept: 100,
        kept_bytes: 1_000,
    }
}

fn landed(value: u32, keep: Duration, bytes: usize) -> Landed<u32> {
    Landed { value, keep, bytes }
}

async fn flown(flights: &Flights<u32, u32>, key: u32, brings: Landed<u32>) -> u32 {
    match flights.join(key, |_, _| false, |_| async { brings }) {
        Ok(Joined::Begun(mut waiting)) => waiting.landed().await.unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_has_landed_is_kept_while_it_is_good_enough() {
    let flights = flights(roomy());
    flown(&flights, 1, landed(7, LONG, 0)).await;
    assert_eq!(flights.kept(&1, |_, _| true), Some(7));
    assert_eq!(flights.kept(&1, |_, _| false), None);
    assert_eq!(flights.kept(&1, |value, _| *value == 7), Some(7));
    assert_eq!(flights.kept(&2, |_, _| true), None);
    flown(&flights, 1, landed(8, LONG, 0)).await;
    assert_eq!(flights.kept(&1, |_, _| true), Some(8), "the newer replaces");
    flown(&flights, 1, landed(9, Duration::ZERO, 0)).await;
    assert_eq!(flights.kept(&1, |_, _| true), None, "nothing older is told");
    let board = locked(&flights.board);
    assert_eq!((board.order.len(), board.bytes), (0, 0));
}

#[tokio::test]
async fn whoever_comes_while_a_flight_is_in_the_air_shares_it() {
    let flights = flights(roomy());
    let (open, gate) = tokio::sync::oneshot::channel::<()>();
    let work = |progress: Progress<u32>| async move {
        progress.say(1);
        gate.await.unwrap();
        landed(2, LONG, 0)
    };
    let Ok(Joined::Begun(mut first)) = flights.join(1, |_, _| true, work) else {
        panic!("a first caller begins");
    };
    let other = |_: Progress<u32>| async { panic!("one flight only") };
    let Ok(Joined::Shared(mut second)) = flights.join(1, |_, _| true, other) else {
        panic!("a second caller shares");
    };
    tokio::task::yield_now().await;
    assert_eq!(second.so_far(), Some(1));
    let hurried = tokio::time::timeout(Duration::ZERO, second.landed()).await;
    assert!(hurried.is_err(), "what is said so far is not the end");
    open.send(()).unwrap();
    assert_eq!(first.landed().await, Ok(2));
    assert_eq!(second.landed().await, Ok(2));
}

#[tokio::test]
async fn a_flood_of_distinct_keys_keeps_no_more_than_the_limits() {
    let flights = flights(Limits {
        in_air: 1,
        kept: 10,
        kept_bytes: 50,
    });
    for key in 0..1_000 {
        flown(
            &flights,
            key,
            landed(key, LONG, if key % 2 == 0 { 1 } else { 20 }),
        )
        .await;
        let board = locked(&flights.board);
        assert!(board.kept.len() <= 10, "{}", board.kept.len());
        assert!(board.bytes <= 50, "{}", board.bytes);
        assert_eq!(board.order.len(), board.kept.len());
        assert!(board.air.is_empty());
    }
    assert_eq!(flights.kept(&999, |_, _| true), Some(999));
    assert_eq!(flights.kept(&0, |_, _| true), None, "the oldest went");
    flown(&flights, 7, landed(7, LONG, 51)).await;
    assert_eq!(flights.kept(&7, |_, _| true), None, "too large to keep");
    assert_eq!(flights.kept(&999, |_, _| true), Some(999));
}

#[tokio::test]
async fn what_is_over_goes_with_the_next_that_lands() {
    let flights = flights(roomy());
    flown(&flights, 1, landed(1, Duration::from_millis(1), 5)).await;
    tokio::time::sleep(Duration::from_millis(3)).await;
    assert_eq!(flights.kept(&1, |_, _| true), None);
    flown(&flights, 2, landed(2, LONG, 5)).await;
    assert_eq!(locked(&flights.board).kept.len(), 1);
}

#[tokio::test]
async fn a_panic_ends_the_wait_and_gives_the_place_back() {
    let flights = flights(Limits {
        in_air: 1,
        ..roomy()
    });
    let work = |_: Progress<u32>| async { panic!("on purpose") };
    let Ok(Joined::Begun(mut waiting)) = flights.join(1, |_, _| true, work) else {
        panic!("it begins");
    };
    let full = flights.join(2, |_, _| true, |_| async { landed(2, LONG, 0) });
    assert_eq!(full.err(), Some(TooMany));
    assert_eq!(waiting.landed().await, Err(Broken));
    assert_eq!(flown(&flights, 2, landed(2, LONG, 0)).await, 2);
}
