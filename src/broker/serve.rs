//! The socket: connections, the end at a signal.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::UnixListener;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

use super::answer::Broker;
use super::{BrokerError, BrokerOptions};
use crate::build;
use crate::sandbox::hide_process;

/// Connections at a time; a build has some dozens.
const CONNECTION_LIMIT: usize = 256;

/// How long the head of a request may take.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);

/// How long requests under way may take after the signal, and then the cancelling of uploads.
const GRACE: Duration = Duration::from_secs(3);

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// When credentials or certificates cannot be read, or the socket cannot be made.
pub fn run(options: &BrokerOptions) -> Result<(), BrokerError> {
    // In a Pod whose containers share processes, commands may belong to the same user.
    hide_process()?;
    let registry = build::registry(&options.registry)?;
    let broker = Arc::new(Broker::new(registry, options.allowed.clone()));
    let threads = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    threads.map_err(BrokerError::Runtime)?.block_on(serve(broker, &options.listen))
}

/// Serves on a socket at `path` until a signal.
async fn serve(broker: Arc<Broker>, path: &Path) -> Result<(), BrokerError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(BrokerError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(BrokerError::Runtime)?;
    let listener =
        listen(path).map_err(|source| BrokerError::Listen { path: path.to_owned(), source })?;
    tracing::info!(socket = %path.display(), "broker is ready");
    let connections = GracefulShutdown::new();
    tokio::select! {
        () = accept(&broker, &listener, &connections) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    drop(listener);
    // Somebody else may have put something there; then it stays.
    let _ = remove_socket(path);
    broker.stop();
    let _ = tokio::time::timeout(GRACE, connections.shutdown()).await;
    let _ = tokio::time::timeout(GRACE, broker.cancel_uploads()).await;
    tracing::info!("broker has ended");
    Ok(())
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    // Left by a broker that was killed.
    remove_socket(path)?;
    let listener = UnixListener::bind(path)?;
    // Commands of a build that run as another user cannot even knock.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn remove_socket(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => fs::remove_file(path),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Takes connections for ever.
async fn accept(broker: &Arc<Broker>, listener: &UnixListener, connections: &GracefulShutdown) {
    let places = Arc::new(Semaphore::new(CONNECTION_LIMIT));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, as a rule; some will be free again.
                tracing::warn!(%error, "cannot take a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let broker = Arc::clone(broker);
        let service = service_fn(move |request| {
            let broker = Arc::clone(&broker);
            async move { Ok::<_, Infallible>(broker.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_PATIENCE)
            .serve_connection(TokioIo::new(stream), service);
        let watched = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = watched.await {
                tracing::debug!(%error, "connection broke");
            }
            drop(place);
        });
    }
}
