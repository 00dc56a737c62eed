//! What an MCP client can ask: who this is, which tools there are, and to run one.

use std::borrow::Cow;
use std::sync::Arc;

use berth_control::Session;
use bytes::Bytes;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, Implementation,
    InitializeRequestParams, InitializeResult, ListToolsResult, PaginatedRequestParams, ProtocolVersion,
    ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::content;
use super::refusal::{in_answer, logged};
use super::tenancy::{Tenancy, Wanted};
use crate::audit::Part;
use crate::urls::Base;
use crate::{App, audit, calls};

/// For the model that reads it.
const INSTRUCTIONS: &str = "The tools of one isolated Linux computer. Files, processes and the variables of `run_code` stay \
                            until the session ends, which it does after some minutes without a call.";

/// Which session a client's calls are for.
#[derive(Clone)]
pub(crate) enum Seat {
    /// One that it has named.
    Taken(Arc<Session>),
    /// One that is made when it introduces itself.
    Free(Wanted, Arc<OnceCell<Tenancy>>),
}

impl Seat {
    /// A place for a client that has no session yet.
    pub(crate) fn free(wanted: Wanted) -> Self {
        Self::Free(wanted, Arc::default())
    }

    /// The session, once there is one.
    pub(super) fn session(&self) -> Option<&Arc<Session>> {
        match self {
            Self::Taken(session) => Some(session),
            Self::Free(_, tenancy) => tenancy.get().map(|tenancy| &tenancy.session),
        }
    }
}

/// The answers to one client, or to one request of one.
#[derive(Clone)]
pub(super) struct Tools {
    pub(super) app: App,
    pub(super) seat: Seat,
    /// Where the client reaches the server.
    pub(super) base: Base,
    /// The request that brought the client here, for the audit log.
    pub(super) part: Option<Part>,
    /// Ends the call that this is for.
    pub(super) cancelled: CancellationToken,
}

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("berth", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    /// Without an introduction there is nothing that a session could be bound to, so a client that has to be given one
    /// is held to the versions that have it.
    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(match self.seat {
            Seat::Taken(_) => ProtocolVersion::KNOWN_VERSIONS,
            Seat::Free(..) => ProtocolVersion::known_up_to(&ProtocolVersion::LATEST_WITH_INITIALIZE),
        })
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        let negotiated = self.negotiate_initialize(&request)?;
        if let Seat::Free(wanted, tenancy) = &self.seat {
            tenancy
                .get_or_try_init(|| Tenancy::begin(&self.app, wanted, self.part.clone()))
                .await
                .map_err(|error| in_answer("a session for an MCP client", error))?;
        }
        context.peer.set_peer_info(request);
        Ok(negotiated)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        if let Some(session) = self.seat.session() {
            session.touch();
        }
        Ok(ListToolsResult::with_all_items(self.app.mcp.tools.clone()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(session) = self.seat.session() else {
            return Err(ErrorData::invalid_request(
                "there is no session yet; send `initialize` first, and on Streamable HTTP the `Mcp-Session-Id` of its answer",
                None,
            ));
        };
        let arguments = serde_json::to_vec(&request.arguments.unwrap_or_default())
            .map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
        let call = async {
            tokio::select! {
                answer = calls::call_tool(&self.app, session, &request.name, Bytes::from(arguments), &self.base) => answer.map(Some),
                () = context.ct.cancelled() => Ok(None),
                () = self.cancelled.cancelled() => Ok(None),
            }
        };
        let result = match audit::tell(self.part.clone(), "session.tools", call).await {
            Ok(Some(answer)) => content::of(&request.name, &answer),
            Ok(None) => return Err(ErrorData::invalid_request("the call was cancelled", None)),
            // For the model, as a tool's own failure is: it can often go on.
            Err(error) => {
                CallToolResult::error(vec![ContentBlock::text(logged("a tool call by MCP", &error))])
            }
        };
        Ok(result.into())
    }
}
