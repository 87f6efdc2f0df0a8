using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Operations;

/// <summary>Sessions on a server that no pool knows of, each in a state of its own; all closed at the end.</summary>
internal sealed class Strangers(string server) : IAsyncDisposable
{
    private readonly Dictionary<int, NpgsqlConnection> _sessions = [];
    private readonly List<Task> _work = [];
    private readonly Outside _outside = new(server);

    public static string Name(string purpose) => $"stranger-{purpose}-{Guid.NewGuid():N}"[..40];

    /// <summary>A session that waits for its client.</summary>
    public async Task<NpgsqlConnection> IdleAsync(string application, Action<NpgsqlConnectionStringBuilder>? text = null)
    {
        var builder = new NpgsqlConnectionStringBuilder(server) { Pooling = false, ApplicationName = application };
        text?.Invoke(builder);
        var session = new NpgsqlConnection(builder.ConnectionString);
        await session.OpenAsync();
        _sessions.Add(session.ProcessID, session);

        // Whoever has had an answer is idle, or about to be: the server says so a moment later.
        await session.DoAsync("SELECT 1");
        await BecomesAsync(session.ProcessID, "idle");
        return session;
    }

    /// <summary>One that waits within a transaction.</summary>
    public async Task<NpgsqlConnection> InTransactionAsync(string application, bool failed = false)
    {
        var session = await IdleAsync(application);
        await session.DoAsync("BEGIN");
        if (failed)
        {
            await Assert.ThrowsAsync<PostgresException>(() => session.DoAsync("SELECT 1 / 0"));
        }

        await BecomesAsync(session.ProcessID, failed ? "idle in transaction (aborted)" : "idle in transaction");
        return session;
    }

    /// <summary>One that runs something until it is cancelled or closed.</summary>
    public async Task<NpgsqlConnection> ActiveAsync(string application)
    {
        var session = await IdleAsync(application);
        await WorkAsync(session);
        return session;
    }

    /// <summary>Makes a session busy.</summary>
    public async Task WorkAsync(NpgsqlConnection session)
    {
        _work.Add(session.DoAsync("SELECT pg_sleep(600)"));
        await BecomesAsync(session.ProcessID, "active");
    }

    public Task<string> StateAsync(int session)
        => _outside.AskAsync<string>($"SELECT coalesce((SELECT state FROM pg_stat_activity WHERE pid = {session}), 'gone')");

    public Task BecomesAsync(int session, string state)
        => Eventually.True(async () => await StateAsync(session) == state, $"session {session} is {state}");

    public async ValueTask DisposeAsync()
    {
        // First, because a session that is busy does not let itself be closed.
        await _outside.AskAsync<bool[]>($"SELECT ARRAY(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid IN ({string.Join(',', _sessions.Keys.Append(0))}))");
        foreach (var work in _work)
        {
            await Assert.ThrowsAnyAsync<NpgsqlException>(() => work);
        }

        foreach (var session in _sessions.Values)
        {
            await session.DisposeAsync();
        }
    }
}
