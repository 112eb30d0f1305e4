//! Where an encoder's bytes go: a local file, or an upload that runs beside it.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::{Error, warehouse::Warehouse, warehouse::create, warehouse::local_path, warehouse::sync};

/// Bytes of one part of an upload.
const PART_BYTES: usize = 8 << 20;
/// Parts between the encoder and the upload.
const PARTS_AHEAD: usize = 2;

pub(super) enum Sink {
    Local { file: File, path: PathBuf },
    Remote(Upload),
}

pub(super) struct Upload {
    part: Vec<u8>,
    parts: mpsc::Sender<Part>,
    task: Option<JoinHandle<iceberg::Result<()>>>,
    runtime: Handle,
}

enum Part {
    Bytes(Bytes),
    // An upload whose encoder went away without this is not completed.
    End,
}

impl Sink {
    /// Creates the file; call from a blocking thread.
    pub(super) fn create(warehouse: &Warehouse, location: &str, runtime: &Handle) -> Result<Self, Error> {
        if let Some(path) = local_path(location) {
            let file = create(&path).map_err(|e| Error::storage("write", location, e))?;
            return Ok(Self::Local { file, path });
        }
        let failed = |e| Error::storage("write", location, e);
        let output = warehouse.io(location).new_output(location).map_err(failed)?;
        let mut writer = runtime.block_on(output.writer()).map_err(failed)?;
        let (parts, mut receiver) = mpsc::channel(PARTS_AHEAD);
        let task = runtime.spawn(async move {
            loop {
                match receiver.recv().await {
                    Some(Part::Bytes(bytes)) => writer.write(bytes).await?,
                    Some(Part::End) => return writer.close().await,
                    None => return Ok(()),
                }
            }
        });
        Ok(Self::Remote(Upload {
            part: Vec::with_capacity(PART_BYTES),
            parts,
            task: Some(task),
            runtime: runtime.clone(),
        }))
    }

    /// Makes the file complete and safe; call once, from a blocking thread.
    pub(super) fn close(&mut self, location: &str) -> Result<(), Error> {
        match self {
            Self::Local { file, path } => sync(file, path).map_err(|e| Error::storage("write", location, e)),
            Self::Remote(upload) => {
                // A part that is not taken means that the upload has failed: its own answer says why.
                let _ = upload.send_part().and_then(|()| upload.send(Part::End));
                let Some(task) = upload.task.take() else { return Ok(()) };
                match upload.runtime.block_on(task) {
                    Ok(done) => done.map_err(|e| Error::storage("write", location, e)),
                    Err(e) => Err(Error::TaskLost { task: "upload of a data file", source: Some(e) }),
                }
            }
        }
    }
}

impl Upload {
    fn send_part(&mut self) -> io::Result<()> {
        if self.part.is_empty() {
            return Ok(());
        }
        let part = std::mem::replace(&mut self.part, Vec::with_capacity(PART_BYTES));
        self.send(Part::Bytes(part.into()))
    }

    fn send(&self, part: Part) -> io::Result<()> {
        self.parts.blocking_send(part).map_err(|_| io::Error::other("the upload has stopped"))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Local { file, .. } => file.write(bytes),
            Self::Remote(upload) => {
                upload.part.extend_from_slice(bytes);
                if upload.part.len() >= PART_BYTES {
                    upload.send_part()?;
                }
                Ok(bytes.len())
            }
        }
    }

    // The file's end comes with `close`; a flush in between has nothing to make safe.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
