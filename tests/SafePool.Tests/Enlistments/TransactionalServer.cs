using System.Transactions;
using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Enlistments;

/// <summary>A server that lets transactions be prepared, with a table to write to.</summary>
public sealed class TransactionalServer : IAsyncLifetime
{
    private PostgresServer _server = null!;

    public string ConnectionString => _server.ConnectionString;

    public async ValueTask InitializeAsync()
    {
        _server = await PostgresServer.StartAsync(options => options.Settings["max_prepared_transactions"] = "30", TestContext.Current.CancellationToken);
        await new Outside(ConnectionString).DoAsync("CREATE TABLE notes (note text PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)");
    }

    public ValueTask DisposeAsync() => _server.DisposeAsync();

    /// <summary>A scope that flows with the caller, as every one around asynchronous work must.</summary>
    internal static TransactionScope Scope(TransactionScopeOption option = TransactionScopeOption.Required, TimeSpan timeout = default)
        => new(
            option,
            new TransactionOptions { IsolationLevel = IsolationLevel.ReadCommitted, Timeout = timeout },
            TransactionScopeAsyncFlowOption.Enabled);

    /// <summary>A word that no other test uses.</summary>
    internal static string NewNote() => Guid.NewGuid().ToString("N");

    internal static string Insert(string note) => $"INSERT INTO notes VALUES ('{note}')";

    internal Task<PoolOnServer> PoolAsync(Action<ConnectionPoolOptions>? options = null, Action<NpgsqlConnectionStringBuilder>? text = null, TcpProxy? proxy = null)
        => PoolOnServer.CreateAsync(options, text, server: ConnectionString, proxy: proxy);

    /// <summary>How many of these notes were committed.</summary>
    internal Task<long> CountAsync(params string[] notes)
        => new Outside(ConnectionString).AskAsync<long>($"SELECT count(*) FROM notes WHERE note = ANY ('{{{string.Join(',', notes)}}}')");
}
