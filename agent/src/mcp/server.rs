//! The protocol: which tools there are, who calls them, and what goes back. By the official SDK; what is said here is only what is ours.

use std::sync::Arc;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::{ErrorData, ServerHandler, ServiceExt};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;

use super::desk::{Desk, Shared};
use super::tools::{all_tools, call, writes};
use crate::brief::quote::inline;
use crate::llm;
use crate::propose::tools::Toolbox;

/// Bytes of one message; longer ones are dropped before they are read whole. Edits may replace every candidate file.
const MOST_MESSAGE: usize = 2 * 1024 * 1024;

/// Calls that are answered at once; each reads the records anew.
const MOST_AT_ONCE: usize = 4;

/// Characters of an answer: the tools' own bound, and a brief's.
const MOST_ANSWER: usize = 60_000;

const INSTRUCTIONS: &str = "Nocturne runs machine-learning experiments by night: changes of a GPT trainer, measured under secret seeds by an \
evaluator that they cannot reach. Call `brief` first; it says what is looked for and how to propose.";

/// The server of one campaign.
#[derive(Debug, Clone)]
pub struct Server {
    desk: Shared,
    at_once: Arc<Semaphore>,
}

/// The connection could not be made, or broke.
#[derive(Debug, thiserror::Error)]
#[error("the connection to the MCP client failed: {0}")]
pub struct ServeError(String);

/// Serves a campaign until the client hangs up.
///
/// # Errors
/// When the client does not speak the protocol.
pub async fn serve<R, W>(desk: Desk, read: R, write: W) -> Result<(), ServeError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let transport = AsyncRwTransport::new(read, write).with_max_line_length(MOST_MESSAGE);
    let failed = |error: &dyn std::fmt::Display| ServeError(error.to_string());
    let running = Server::new(desk).serve(transport).await.map_err(|error| failed(&error))?;
    running.waiting().await.map_err(|error| failed(&error))?;
    Ok(())
}

impl Server {
    /// A server that nobody talks to yet.
    pub fn new(desk: Desk) -> Self {
        Self { desk: Arc::new(desk), at_once: Arc::new(Semaphore::new(MOST_AT_ONCE)) }
    }

    /// One call, in our own terms.
    async fn answer(&self, client: &str, name: &str, arguments: Value) -> Result<String, String> {
        let _turn = self.at_once.acquire().await.map_err(|error| error.to_string())?;
        call(&self.desk, client, name, arguments).await
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("nocturne", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let facts = self.desk.facts().await.map_err(|error| ErrorData::internal_error(error, None))?;
        let tools = all_tools(&Toolbox::new(facts)).into_iter().map(offered).collect();
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        // Its own word for itself; shown to the person, and nothing follows from it.
        let client = context.client_info().map(|client| inline(&client.name, 40)).filter(|name| !name.is_empty());
        let client = client.unwrap_or_else(|| "a program".to_owned());
        let arguments = request.arguments.map_or(Value::Null, Value::Object);
        // What went wrong is told as a result: clients hide errors of the protocol from their models.
        let result = match self.answer(&client, &request.name, arguments).await {
            Ok(text) => CallToolResult::success(vec![ContentBlock::text(bounded(text))]),
            Err(text) => CallToolResult::error(vec![ContentBlock::text(bounded(text))]),
        };
        Ok(result.into())
    }
}

/// A tool as the protocol has it.
fn offered(tool: llm::Tool) -> Tool {
    let schema = match tool.arguments {
        Value::Object(schema) => schema,
        _ => serde_json::Map::new(),
    };
    let changes = writes(&tool.name);
    let annotations = ToolAnnotations::new().read_only(!changes).destructive(false).open_world(false);
    Tool::new(tool.name, tool.description, schema).with_annotations(annotations)
}

fn bounded(text: String) -> String {
    match text.char_indices().nth(MOST_ANSWER) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned() + "\n[cut off here]",
        None => text,
    }
}
