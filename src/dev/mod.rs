//! What `settled dev` runs beside a worker: an embedded broker, a simulated owner, sample traffic and
//! an audit that trusts none of them. `app::dev` wires it; nothing here reaches `settled run`.

pub mod audit;
pub mod bank;
pub mod broker;
pub mod metrics_page;
pub mod own_events;
pub mod sample;
pub mod second_reader;
pub mod traffic;
