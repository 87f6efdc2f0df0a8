using Npgsql;
using SafePool.TestKit;

namespace SafePool.ChaosTests.Faults;

/// <summary>An administrator ends sessions of the pool: 57P01.</summary>
internal sealed record Terminated(int PercentOfSessions) : Fault
{
    public override Task BeginAsync(Landscape landscape)
        => landscape.AskAsync<long>(
            $"""
            SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE usename = '{Landscape.Role}' AND (pid * 7919) % 100 < {PercentOfSessions}
            """);
}

/// <summary>Backends hang (SIGSTOP), and afterwards go on as if nothing had been.</summary>
internal sealed record StoppedBackends(int AtMost) : Fault
{
    private int[] _stopped = [];

    public override bool SilencesSessions => true;

    public override async Task BeginAsync(Landscape landscape)
    {
        _stopped = [.. (await landscape.SessionsAsync()).Take(AtMost)];
        Signal(Signals.Stop);
    }

    public override Task HealAsync(Landscape landscape)
    {
        Signal(Signals.Continue);
        return Task.CompletedTask;
    }

    private void Signal(int signal)
    {
        foreach (var session in _stopped)
        {
            Signals.Send(session, signal);
        }
    }
}

/// <summary>A backend dies (SIGKILL), and the server cuts all the others to recover.</summary>
internal sealed record KilledBackend : Fault
{
    public override async Task BeginAsync(Landscape landscape)
    {
        if (await landscape.SessionsAsync() is [var first, ..])
        {
            Signals.Send(first, Signals.Kill);
        }
    }

    public override Task HealAsync(Landscape landscape) => landscape.AnswersAsync();
}

/// <summary>The postmaster hangs (SIGSTOP): sessions go on, and new clients wait for an answer.</summary>
internal sealed record StoppedPostmaster : Fault
{
    public override Task BeginAsync(Landscape landscape)
    {
        Signals.Send(landscape.Server.PostmasterId, Signals.Stop);
        return Task.CompletedTask;
    }

    public override Task HealAsync(Landscape landscape)
    {
        Signals.Send(landscape.Server.PostmasterId, Signals.Continue);
        return landscape.AnswersAsync();
    }
}

/// <summary>The postmaster dies (SIGKILL), is down, and is started again.</summary>
internal sealed record KilledPostmaster : Fault
{
    public override Task BeginAsync(Landscape landscape) => landscape.Server.StopAsync(StopMode.Kill);

    public override Task HealAsync(Landscape landscape) => landscape.Server.StartAgainAsync();
}

/// <summary><c>pg_ctl restart</c>, fast or immediate: down for no longer than that takes.</summary>
internal sealed record Restarted(StopMode Mode) : Fault
{
    public override Task BeginAsync(Landscape landscape) => landscape.Server.RestartAsync(Mode);
}

/// <summary><c>pg_ctl stop</c>, fast or immediate, and started again when it heals.</summary>
internal sealed record Down(StopMode Mode) : Fault
{
    public override Task BeginAsync(Landscape landscape) => landscape.Server.StopAsync(Mode);

    public override Task HealAsync(Landscape landscape) => landscape.Server.StartAgainAsync();
}

/// <summary>Others take all the room that the server has: 53300, but not for what is open already.</summary>
internal sealed record ServerFull(int PercentOfSessions) : Fault
{
    private const int Most = 100;

    private readonly List<NpgsqlConnection> _squatters = [];

    public override async Task BeginAsync(Landscape landscape)
    {
        var squatter = new NpgsqlConnectionStringBuilder(landscape.Server.ConnectionString) { Username = "squatter", Pooling = false, Timeout = 3 };
        try
        {
            while (_squatters.Count < Most)
            {
                var connection = new NpgsqlConnection(squatter.ConnectionString);
                _squatters.Add(connection);
                await connection.OpenAsync();
            }
        }
        catch (PostgresException full) when (full.SqlState == PostgresErrorCodes.TooManyConnections)
        {
            // As wanted. What the pool has is then more than it could get again.
            await new Terminated(PercentOfSessions).BeginAsync(landscape);
        }
    }

    public override async Task HealAsync(Landscape landscape)
    {
        foreach (var connection in _squatters)
        {
            await connection.DisposeAsync();
        }
    }
}

/// <summary>PgBouncer's PAUSE: those in a transaction go on, all others wait.</summary>
internal sealed record PausedPooler : Fault
{
    public override bool SilencesSessions => true;

    public override Task BeginAsync(Landscape landscape) => landscape.Middleman!.PauseAsync();

    public override Task HealAsync(Landscape landscape) => landscape.Middleman!.ResumeAsync();
}

/// <summary>The pooler goes away and comes back.</summary>
internal sealed record RestartedPooler : Fault
{
    public override Task BeginAsync(Landscape landscape) => landscape.Middleman!.RestartAsync();
}

/// <summary>The address leads to another server, and back; with <paramref name="BreaksAll"/> what was open breaks on the way there, otherwise the pool has sessions on both.</summary>
/// <remarks>With a pooler in between it is the pooler's address, and stays.</remarks>
internal sealed record Moved(bool BreaksAll) : Fault
{
    public override Task BeginAsync(Landscape landscape)
    {
        if (landscape.Middleman is null)
        {
            landscape.Proxy.LeadTo(landscape.Elsewhere.ConnectionString);
            if (BreaksAll)
            {
                landscape.Proxy.ResetAll();
            }
        }

        return Task.CompletedTask;
    }

    public override Task HealAsync(Landscape landscape)
    {
        if (landscape.Middleman is null)
        {
            landscape.Proxy.LeadTo(landscape.Server.ConnectionString);
            landscape.Proxy.ResetAll();
        }

        return Task.CompletedTask;
    }
}
