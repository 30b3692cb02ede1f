# The daemon with TLS and SASL towards Kafka, on Debian without anything else.
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends build-essential perl \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
RUN cargo build --release --locked --features kafka-tls

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home settled
COPY --from=build /build/target/release/settled /usr/local/bin/settled
USER 10001
EXPOSE 8080 8081
ENTRYPOINT ["settled"]
CMD ["run", "--config", "/etc/settled/settled.toml"]
