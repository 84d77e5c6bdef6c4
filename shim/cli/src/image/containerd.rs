//! containerd's gRPC API, as far as it is asked here: reading alone.

use http::uri::PathAndQuery;
use prost::Message;
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::error::ImageError;
use super::messages::{
    Container, ContentPart, Descriptor, GetContainer, GetImage, GotContainer, GotImage, GotMounts, GotSnapshot, Mount,
    ReadContent, Snapshot, SnapshotKey,
};

/// The metadata that says in which of containerd's namespaces something is looked up.
const NAMESPACE: &str = "containerd-namespace";

const CONTAINER: &str = "/containerd.services.containers.v1.Containers/Get";
const IMAGE: &str = "/containerd.services.images.v1.Images/Get";
const CONTENT: &str = "/containerd.services.content.v1.Content/Read";
const SNAPSHOT: &str = "/containerd.services.snapshots.v1.Snapshots/Stat";
const MOUNTS: &str = "/containerd.services.snapshots.v1.Snapshots/Mounts";

/// A connection, for one namespace.
#[derive(Debug, Clone)]
pub(super) struct Containerd {
    channel: Channel,
    namespace: MetadataValue<Ascii>,
}

impl Containerd {
    /// `address` is the path of the socket, as containerd gives it to shims.
    pub(super) async fn connect(address: &str, namespace: &str) -> Result<Self, ImageError> {
        let failed = |source| ImageError::Connect { address: address.to_owned(), source };
        let path = address.strip_prefix("unix://").unwrap_or(address);
        if !path.starts_with('/') {
            return Err(ImageError::Name(address.to_owned()));
        }
        let namespace = namespace.parse().map_err(|_| ImageError::Name(namespace.to_owned()))?;
        let endpoint = Endpoint::from_shared(format!("unix://{path}")).map_err(failed)?;
        Ok(Self { channel: endpoint.connect().await.map_err(failed)?, namespace })
    }

    pub(super) async fn container(&self, id: &str) -> Result<Container, ImageError> {
        let got: GotContainer = self.ask(CONTAINER, GetContainer { id: id.to_owned() }).await?;
        got.container.ok_or_else(|| empty(CONTAINER))
    }

    /// What a name of the image store leads to; `None` if it has no such name.
    pub(super) async fn image(&self, name: &str) -> Result<Option<Descriptor>, ImageError> {
        let request = GetImage { name: name.to_owned() };
        match self.call::<_, GotImage>(IMAGE, request).await {
            Ok(got) => got.image.and_then(|image| image.target).map(Some).ok_or_else(|| empty(IMAGE)),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(failed(IMAGE, &status)),
        }
    }

    pub(super) async fn snapshot(&self, snapshotter: &str, key: &str) -> Result<Snapshot, ImageError> {
        let got: GotSnapshot = self.ask(SNAPSHOT, snapshot_key(snapshotter, key)).await?;
        got.info.ok_or_else(|| empty(SNAPSHOT))
    }

    pub(super) async fn mounts(&self, snapshotter: &str, key: &str) -> Result<Vec<Mount>, ImageError> {
        let got: GotMounts = self.ask(MOUNTS, snapshot_key(snapshotter, key)).await?;
        Ok(got.mounts)
    }

    /// The content of a digest, but not more than `most` bytes; `None` where it is not there.
    pub(super) async fn content(&self, digest: &str, most: usize) -> Result<Option<Vec<u8>>, ImageError> {
        let request = ReadContent { digest: digest.to_owned(), offset: 0, size: 0 };
        let mut bytes = Vec::new();
        let read = async {
            let mut client = self.client().await?;
            let codec: ProstCodec<ReadContent, ContentPart> = ProstCodec::default();
            let mut parts = client
                .server_streaming(self.request(request), PathAndQuery::from_static(CONTENT), codec)
                .await?
                .into_inner();
            while let Some(part) = parts.message().await? {
                bytes.extend_from_slice(&part.data);
                if bytes.len() > most {
                    return Err(Status::out_of_range(format!("more than {most} bytes")));
                }
            }
            Ok(())
        };
        match read.await {
            Ok(()) => Ok(Some(bytes)),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(_) if bytes.len() > most => Err(ImageError::TooLong { digest: digest.to_owned(), most }),
            Err(status) => Err(failed(CONTENT, &status)),
        }
    }

    async fn ask<Q, A>(&self, path: &'static str, request: Q) -> Result<A, ImageError>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        self.call(path, request).await.map_err(|status| failed(path, &status))
    }

    async fn call<Q, A>(&self, path: &'static str, request: Q) -> Result<A, Status>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        let mut client = self.client().await?;
        let codec: ProstCodec<Q, A> = ProstCodec::default();
        Ok(client.unary(self.request(request), PathAndQuery::from_static(path), codec).await?.into_inner())
    }

    async fn client(&self) -> Result<Grpc<Channel>, Status> {
        let mut client = Grpc::new(self.channel.clone());
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(client)
    }

    fn request<Q>(&self, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(NAMESPACE, self.namespace.clone());
        request
    }
}

fn snapshot_key(snapshotter: &str, key: &str) -> SnapshotKey {
    SnapshotKey { snapshotter: snapshotter.to_owned(), key: key.to_owned() }
}

fn failed(path: &'static str, status: &Status) -> ImageError {
    ImageError::Call { call: name(path), message: format!("{}: {}", status.code(), status.message()) }
}

fn empty(path: &'static str) -> ImageError {
    ImageError::Call { call: name(path), message: "the answer is empty".to_owned() }
}

/// `Containers/Get` of the whole path.
fn name(path: &'static str) -> &'static str {
    path.rsplit_once('.').map_or(path, |(_, name)| name)
}
