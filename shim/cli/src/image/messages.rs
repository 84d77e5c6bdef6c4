//! The few messages of containerd's API that are used here. Fields that nobody reads are left out: protobuf skips them.
//!
//! Source: containerd `api/services/{containers,images,content,snapshots}/v1/*.proto`, `api/types/{descriptor,mount}.proto`; stable since 1.0.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetContainer {
    #[prost(string, tag = "1")]
    pub(super) id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GotContainer {
    #[prost(message, optional, tag = "1")]
    pub(super) container: Option<Container>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Container {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, tag = "3")]
    pub(super) image: String,
    #[prost(message, optional, tag = "5")]
    pub(super) spec: Option<Any>,
    #[prost(string, tag = "6")]
    pub(super) snapshotter: String,
    #[prost(string, tag = "7")]
    pub(super) snapshot_key: String,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetImage {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GotImage {
    #[prost(message, optional, tag = "1")]
    pub(super) image: Option<Image>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Image {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, optional, tag = "3")]
    pub(super) target: Option<Descriptor>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Descriptor {
    #[prost(string, tag = "1")]
    pub(super) media_type: String,
    #[prost(string, tag = "2")]
    pub(super) digest: String,
    #[prost(int64, tag = "3")]
    pub(super) size: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReadContent {
    #[prost(string, tag = "1")]
    pub(super) digest: String,
    #[prost(int64, tag = "2")]
    pub(super) offset: i64,
    #[prost(int64, tag = "3")]
    pub(super) size: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContentPart {
    #[prost(int64, tag = "1")]
    pub(super) offset: i64,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) data: Vec<u8>,
}

/// Of a stat and of a mounts request alike.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SnapshotKey {
    #[prost(string, tag = "1")]
    pub(super) snapshotter: String,
    #[prost(string, tag = "2")]
    pub(super) key: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GotSnapshot {
    #[prost(message, optional, tag = "1")]
    pub(super) info: Option<Snapshot>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Snapshot {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) parent: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GotMounts {
    #[prost(message, repeated, tag = "1")]
    pub(super) mounts: Vec<Mount>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Mount {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(string, tag = "2")]
    pub(super) source: String,
    #[prost(string, repeated, tag = "4")]
    pub(super) options: Vec<String>,
}
