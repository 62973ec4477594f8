//! What is done by name: statements are prepared, queries ended, tickets renewed, sessions kept.

use arrow_flight::sql::{ActionCancelQueryResult, Command, DoPutPreparedStatementResult, ProstMessageExt};
use arrow_flight::{CancelFlightInfoResult, FlightData, PutResult, Result as ActionResult};
use prost::Message as _;
use tonic::Streaming;

use super::messages::{Any, CloseSessionResult, Closed, Prepared};
use super::service::{Call, Service};
use super::sessions::{self, Session};
use super::statements::Aim;
use super::values;
use crate::error::{Class, Error};
use crate::flight::command::{Act, Query, Refusal, command, read_only};
use crate::flight::encode::{schema_bytes, wire_schema};
use crate::flight::ticket::Statement;

impl Service {
    /// Does what an action asks for. The session of the call is then as the action leaves it.
    pub(super) async fn act(&self, call: &mut Call, act: Act) -> Result<Option<ActionResult>, Error> {
        let body = match act {
            // Sessions are what they are, whatever has become of their purpose.
            Act::SetOptions(request) => {
                let principal = &call.caller.principal;
                let (session, result) =
                    sessions::set(&self.engine, &self.auth, principal, call.session.take(), request);
                call.cookie = Some(session.cookie(&self.auth.sealer())?);
                result.encode_to_vec()
            }
            Act::GetOptions => {
                let session = call
                    .session
                    .as_ref()
                    .ok_or_else(|| sessions::unknown().help("set an option first, with a client that keeps cookies"))?;
                session.options(self.engine.mesh().name()).encode_to_vec()
            }
            Act::CloseSession => {
                if call.session.take().is_some() {
                    call.cookie = Some(Session::closed()?);
                }
                CloseSessionResult { status: Closed::Closed as i32 }.encode_to_vec()
            }
            // The handle is all there is of it.
            Act::Close => return Ok(None),
            Act::Prepare(sql) => self.prepare(call, sql).await?.encode_to_vec(),
            Act::Renew(endpoint) => {
                self.entitled(call)?;
                self.renew(&call.caller, endpoint).await?.encode_to_vec()
            }
            Act::Cancel(info) => {
                let status = self.cancel(self.entitled(call)?, &info)?;
                CancelFlightInfoResult::new(status).encode_to_vec()
            }
            Act::CancelQuery(info) => {
                // Both know the same states by the same numbers.
                let status = self.cancel(self.entitled(call)?, &info)?;
                ActionCancelQueryResult { result: status as i32 }.as_any().encode_to_vec()
            }
        };
        Ok(Some(ActionResult::new(body)))
    }

    async fn prepare(&self, call: &mut Call, sql: String) -> Result<Any, Error> {
        self.entitled(call)?;
        let statement = self.statement(call, Query::Sql(sql))?;
        let mut planned = self.plan(&call.caller, &statement, Aim::Columns).await?;
        if call.session.is_none() {
            planned = planned.alone()?;
        }
        let result = Prepared {
            prepared_statement_handle: statement.handle(&self.auth.sealer())?.into(),
            dataset_schema: schema_bytes(&call.form.types.schema(&planned.schema()))?,
            parameter_schema: schema_bytes(&values::asked(&wire_schema(&planned.parameters())))?,
            is_update: Some(false),
        };
        Ok(result.any())
    }

    /// Binds the values of an upload to a prepared statement, which becomes another one: the handle holds them.
    pub(super) async fn bind(&self, call: &mut Call, mut sent: Streaming<FlightData>) -> Result<PutResult, Refusal> {
        let principal = self.entitled(call)?;
        let first = sent.message().await.map_err(|_| Error::new(Class::BadRequest, "the upload broke off"))?;
        let descriptor = first.as_ref().and_then(|first| first.flight_descriptor.clone());
        let (Some(first), Some(descriptor)) = (first, descriptor) else {
            return Err(Error::new(Class::BadRequest, "the upload has no descriptor").into());
        };
        let handle = match command(&descriptor.cmd)? {
            Command::CommandPreparedStatementQuery(query) => query.prepared_statement_handle,
            Command::CommandStatementUpdate(_) | Command::CommandPreparedStatementUpdate(_) => {
                return Err(read_only().into());
            }
            Command::CommandStatementIngest(_) => return Err(Refusal::Unserved(read_only())),
            _ => return Err(Refusal::Unserved(Error::new(Class::BadRequest, "this upload is not served"))),
        };
        let mut statement = Statement::from_handle(&self.auth.sealer(), principal, &handle)?;
        let _place = self.queries.admit(&principal.id)?;
        let values = values::upload(first, sent).await?;
        let parameters = self.engine.parameters(&statement.sql).await?;
        let found = values.as_ref().map_or(0, |values| values.num_columns());
        if values.is_some() && found != parameters {
            return Err(Error::new(
                Class::BadRequest,
                format!("the number of parameters is {parameters}, and that of the values that are bound is {found}"),
            )
            .into());
        }
        statement.values = values.as_ref().map(values::seal).transpose()?;
        let handle = statement.handle(&self.auth.sealer())?;
        let result = DoPutPreparedStatementResult { prepared_statement_handle: Some(handle.into()) };
        Ok(PutResult { app_metadata: result.encode_to_vec().into() })
    }
}
