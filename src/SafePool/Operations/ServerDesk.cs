using Npgsql;
using SafePool.Diagnostics;
using SafePool.Driver;
using SafePool.Driver.Control;
using SafePool.Lifecycle;
using SafePool.Reports;

namespace SafePool.Operations;

/// <summary>
/// What an operator asks of the server through the pool: over the control connection, so that it takes no place and works while the pool is exhausted. When
/// the server has no room for that, or its name leads elsewhere, over an idle connection of the pool.
/// </summary>
internal sealed class ServerDesk(PoolParts parts, IdleQuestion idle)
{
    public Task<ServerReport> ReportAsync(CancellationToken cancellationToken)
        => AskAsync("tell about its connections", (_, survey, _) => Task.FromResult(Report(survey)), () => 0, cancellationToken);

    public Task<TerminationReport> TerminateIdleAsync(
        TimeSpan olderThan, string? applicationName, bool dryRun, bool inTransaction, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(olderThan, TimeSpan.Zero);
        if (applicationName is not null)
        {
            // Sessions without a name are anybody's.
            ArgumentException.ThrowIfNullOrWhiteSpace(applicationName);
        }

        var name = applicationName ?? parts.Source.ApplicationName ?? throw new InvalidOperationException(Sentences.NoApplicationName(parts.Settings.Name));
        var termination = new IdleTermination(olderThan, name, dryRun, inTransaction);
        return AskAsync("end idle sessions", termination.RunAsync, () => termination.Terminated, cancellationToken);
    }

    private async Task<T> AskAsync<T>(
        string task, Func<ControlSession, ServerSurvey, CancellationToken, Task<T>> act, Func<int> terminated, CancellationToken cancellationToken)
    {
        try
        {
            return await AskSomehowAsync(Ask, cancellationToken).ConfigureAwait(false);
        }
        catch (ObjectDisposedException)
        {
            throw new PoolClosedException(Snapshots.Of(parts));
        }
        catch (Exception error) when (error is not OperationCanceledException || !cancellationToken.IsCancellationRequested)
        {
            throw new ControlConnectionException(
                Snapshots.Of(parts), task, terminated(), error, SqlStates.IsServerFull(error), isElsewhere: error is OtherServerException);
        }

        async Task<T> Ask(ControlSession server, CancellationToken cancellation)
        {
            var survey = await ServerSurvey.TakeAsync(server, parts.Source.FindSessions(), parts.Source.ApplicationName, cancellation).ConfigureAwait(false);
            return await act(server, survey, cancellation).ConfigureAwait(false);
        }
    }

    private async Task<T> AskSomehowAsync<T>(Func<ControlSession, CancellationToken, Task<T>> ask, CancellationToken cancellationToken)
    {
        try
        {
            return await parts.Source.AskServerAsync(ask, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception error) when (error is OtherServerException || SqlStates.IsServerFull(error))
        {
            if (!parts.Path.SharesSessions
                && await idle.AskAsync(AskIdle, parts.Settings.ConnectTimeout, cancellationToken).ConfigureAwait(false) is { } answer)
            {
                return answer;
            }

            throw;
        }

        Task<T> AskIdle(NpgsqlConnection connection, PhysicalConnection physical, CancellationToken cancellation)
            => ask(new ControlSession(connection, physical.Identity.Server, IsProven: physical.Identity.Server is not null), cancellation);
    }

    private ServerReport Report(ServerSurvey survey) => new()
    {
        PoolName = parts.Settings.Name,
        ServerVersion = survey.ServerVersion,
        IsBehindPooler = !survey.IsDirect,
        MaxConnections = survey.MaxConnections,
        ReservedForSuperusers = survey.ReservedForSuperusers,
        ReservedForRoles = survey.ReservedForRoles,
        DatabaseLimit = survey.DatabaseLimit,
        RoleLimit = survey.RoleLimit,
        Sessions = [.. survey.Backends.Select(backend => backend.Session)],
    };
}
