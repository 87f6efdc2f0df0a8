using System.Collections.Immutable;
using Npgsql;
using SafePool.Driver;
using SafePool.Driver.Control;

namespace SafePool.Operations;

/// <summary>Ends sessions that are idle, and no others.</summary>
/// <remarks>
/// Each session is told by a statement of its own: <c>pg_stat_activity</c> stands still within one, so a statement for all of them would act upon what the first saw. The statement
/// that tells it looks whether it is still the same session in the same idleness. What remains are the microseconds between that look and the signal, which PostgreSQL gives nobody a lock for.
/// </remarks>
/// <param name="olderThan">For how long it must have been idle.</param>
/// <param name="applicationName">As it is said, not as the server writes it.</param>
/// <param name="dryRun">Only find.</param>
/// <param name="inTransaction">Those within a transaction too.</param>
internal sealed class IdleTermination(TimeSpan olderThan, string applicationName, bool dryRun, bool inTransaction)
{
    private const string Terminate =
        """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE pid = $1 AND backend_start = $2 AND state_change = $3 AND state = $4 AND backend_type = 'client backend' AND pid <> pg_backend_pid()
        """;

    private int _terminated;

    /// <summary>How many have been told to end so far: from any thread, also when the rest failed.</summary>
    public int Terminated => Volatile.Read(ref _terminated);

    public async Task<TerminationReport> RunAsync(ControlSession server, ServerSurvey survey, CancellationToken cancellationToken)
    {
        var name = ApplicationNames.OnServer(applicationName, survey.ServerVersion);
        if (!server.IsProven && survey.IsDirect && !dryRun)
        {
            throw new InvalidOperationException(
                "The server does not say who it is (pg_postmaster_start_time() or pg_backend_pid() cannot be asked), so it is not proven to be the one on which the pool has its sessions, and nothing is ended there.");
        }

        var sessions = ImmutableArray.CreateBuilder<SessionTermination>();
        foreach (var backend in survey.Backends.Where(backend => IsMeant(backend.Session, name)))
        {
            var outcome = Exempt(backend.Session, survey.IsDirect) ?? await TellAsync(server.Connection, backend, cancellationToken).ConfigureAwait(false);
            sessions.Add(new SessionTermination(backend.Session, outcome));
        }

        return new TerminationReport
        {
            ApplicationName = name,
            OlderThan = olderThan,
            IsDryRun = dryRun,
            Sessions = sessions.ToImmutable(),
            Hidden = survey.Backends.Count(backend => backend.Session.State is null),
        };
    }

    private bool IsMeant(ServerSession session, string name)
        => session.Application == name
            && session.Owner != SessionOwner.ControlConnection
            && (session.IsIdle || session.IsIdleInTransaction)
            && session.StateAge >= olderThan;

    private TerminationOutcome? Exempt(ServerSession session, bool isDirect)
        => !isDirect ? TerminationOutcome.BehindPooler
            : session.Owner == SessionOwner.ThisPool ? TerminationOutcome.OfThisPool
            : session.IsIdleInTransaction && !inTransaction ? TerminationOutcome.InTransaction
            : dryRun ? TerminationOutcome.DryRun
            : null;

    private async Task<TerminationOutcome> TellAsync(NpgsqlConnection server, Backend backend, CancellationToken cancellationToken)
    {
        var command = Housekeeping.Command(Terminate, server);
        command.Parameters.Add(new NpgsqlParameter<int> { TypedValue = backend.Session.ProcessId });
        command.Parameters.Add(new NpgsqlParameter<DateTime> { TypedValue = backend.StartedAt!.Value });
        command.Parameters.Add(new NpgsqlParameter<DateTime> { TypedValue = backend.StateChangedAt!.Value });
        command.Parameters.Add(new NpgsqlParameter<string> { TypedValue = backend.Session.State! });
        await using var disposal = command.ConfigureAwait(false);
        try
        {
            if (await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false) is not true)
            {
                return TerminationOutcome.NoLongerIdle;
            }

            Interlocked.Increment(ref _terminated);
            return TerminationOutcome.Terminated;
        }
        catch (PostgresException refused) when (refused.SqlState == PostgresErrorCodes.InsufficientPrivilege)
        {
            return TerminationOutcome.NotPermitted;
        }
    }
}
