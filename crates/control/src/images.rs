//! The images of this server: the image store, asked off the async threads.

use std::path::{Path, PathBuf};

use berth_images::{Error as ImageError, Image, Store};

use crate::error::ControlError;
use crate::whole;

/// The image store of the server.
pub(crate) struct Images {
    folder: PathBuf,
}

impl Images {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// The image of this name, or a refusal that names those there are.
    pub(crate) async fn get(&self, name: &str) -> Result<Image, ControlError> {
        let (folder, asked) = (self.folder.clone(), name.to_owned());
        let found = blocking(move || Store::open(&folder)?.image(&asked)).await?;
        match found {
            Some(image) => Ok(image),
            None => {
                let names = self.names().await?;
                let available = if names.is_empty() {
                    "none; make one with `berth image build`".to_owned()
                } else {
                    names.join(", ")
                };
                Err(ControlError::UnknownImage {
                    name: name.chars().take(100).collect(),
                    available,
                })
            }
        }
    }

    /// The names of all images.
    pub(crate) async fn names(&self) -> Result<Vec<String>, ControlError> {
        let folder = self.folder.clone();
        let images = blocking(move || Store::open(&folder)?.list()).await?;
        Ok(images.into_iter().map(|image| image.name).collect())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ControlError> {
    Ok(whole(tokio::task::spawn_blocking(work)).await?)
}
