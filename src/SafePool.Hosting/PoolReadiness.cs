using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace SafePool.Hosting;

/// <summary>Whether callers can expect a connection.</summary>
internal sealed class PoolReadiness(ConnectionPool pool) : IHealthCheck
{
    private const double MuchUsed = 80;
    private static readonly TimeSpan _freshFor = TimeSpan.FromSeconds(15);

    private volatile bool _wasWarm;
    private volatile ServerReport? _server;
    private long _nextQuestion = long.MinValue;

    private PoolParts Parts => pool.Parts;

    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        var now = pool.GetSnapshot();
        _wasWarm |= now.Idle + now.Leased >= Parts.Settings.MinSize;
        AskIfDue(now);
        var (status, why) = Unreadiness(now) is { } reason ? (context.Registration.FailureStatus, reason)
            : Weakness(now) is { } weakness ? (HealthStatus.Degraded, weakness)
            : (HealthStatus.Healthy, "is ready");
        return Task.FromResult(new HealthCheckResult(status, $"Pool '{now.Name}' {why}.", exception: null, Data(now)));
    }

    private string? Unreadiness(PoolSnapshot now)
        => Parts.Gate.IsClosed ? "is closed"
            : now.IsPaused ? "is paused"
            : now.Circuit != CircuitState.Closed ? "cannot connect: its circuit is open"
            : !_wasWarm ? $"is warming up: {now.Idle + now.Leased} of {Parts.Settings.MinSize} connections are open"
            : null;

    private string? Weakness(PoolSnapshot now)
        => now is { Waiting: > 0, Idle: 0 } && now.Leased + now.Quarantined >= now.EffectiveMaxSize ? $"is saturated: {now.Leased} of {now.MaxSize} leased, {now.Waiting} waiting"
            : now.Holders.FirstOrDefault(holder => holder.Held >= holder.Threshold) is { } overdue ? $"has an overdue lease: {overdue}"
            : _server is { PercentUsed: > MuchUsed } server ? $"is of a server of whose {server.MaxConnections} connections {server.PercentUsed:0} % are in use"
            : null;

    private Dictionary<string, object> Data(PoolSnapshot now)
    {
        var data = new Dictionary<string, object>
        {
            ["maxSize"] = now.MaxSize,
            ["effectiveMaxSize"] = now.EffectiveMaxSize,
            ["leased"] = now.Leased,
            ["idle"] = now.Idle,
            ["opening"] = now.Opening,
            ["waiting"] = now.Waiting,
            ["quarantined"] = now.Quarantined,
            ["circuit"] = now.Circuit.ToString(),
            ["paused"] = now.IsPaused,
            ["overdue"] = now.Holders.Count(holder => holder.Held >= holder.Threshold),
        };
        if (now.LastConnectError is { } error)
        {
            data["lastConnectError"] = error.GetType().Name;
        }

        if (_server is { } server)
        {
            data["serverConnections"] = server.Connections;
            data["serverMaxConnections"] = server.MaxConnections;
        }

        return data;
    }

    /// <summary>Begins to ask the server how full it is, unless it was asked a moment ago, or there is nothing to ask it with.</summary>
    private void AskIfDue(PoolSnapshot now)
    {
        var due = Volatile.Read(ref _nextQuestion);
        if (now.IsPaused || now.Circuit != CircuitState.Closed || Parts.Clock.Exact < due || Parts.Gate.IsClosed
            || Interlocked.CompareExchange(ref _nextQuestion, Parts.Clock.After(Parts.Clock.Exact, _freshFor), due) != due)
        {
            return;
        }

        _ = AskAsync();
    }

    private async Task AskAsync()
    {
        try
        {
            _server = await pool.GetServerReportAsync(CancellationToken.None).ConfigureAwait(false);
        }
        catch (PoolException)
        {
            // It does not say: nothing is known of it, and the rest of the check tells whether that matters.
            _server = null;
        }
    }
}
