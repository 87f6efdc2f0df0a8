using Npgsql;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Isolation;

/// <summary>A database of the audit's own, so that its locks and notifications meet nobody else's.</summary>
[CollectionDefinition(nameof(AuditDatabase))]
public sealed class AuditDatabase : IAsyncLifetime, ICollectionFixture<AuditDatabase>
{
    private readonly string _name = $"audit_{Environment.ProcessId}";
    private Outside? _server;
    private NpgsqlConnection? _database;

    /// <summary>Gets how to connect.</summary>
    public string ConnectionString { get; private set; } = "";

    /// <inheritdoc/>
    public async ValueTask InitializeAsync()
    {
        var shared = await Outside.SharedServerAsync();
        _server = new Outside(shared);
        await _server.DoAsync($"CREATE DATABASE {_name}");
        ConnectionString = new NpgsqlConnectionStringBuilder(shared) { Database = _name }.ConnectionString;
        _database = new NpgsqlConnection(ConnectionString + ";Pooling=false");
        await _database.OpenAsync();
        await _database.DoAsync(
            """
            CREATE SCHEMA elsewhere;
            CREATE TABLE elsewhere.only_elsewhere (id int);
            CREATE SCHEMA audit;
            CREATE TABLE audit.notes (id int);
            CREATE SEQUENCE audit.tickets;
            CREATE FUNCTION audit.knows_currval() RETURNS bool LANGUAGE plpgsql AS
            $$ BEGIN PERFORM currval('audit.tickets'); RETURN true; EXCEPTION WHEN SQLSTATE '55000' THEN RETURN false; END $$;
            CREATE FUNCTION audit.knows_lastval() RETURNS bool LANGUAGE plpgsql AS
            $$ BEGIN PERFORM lastval(); RETURN true; EXCEPTION WHEN SQLSTATE '55000' THEN RETURN false; END $$;
            GRANT USAGE ON SCHEMA audit, elsewhere TO public;
            GRANT ALL ON ALL TABLES IN SCHEMA audit TO public;
            GRANT ALL ON ALL SEQUENCES IN SCHEMA audit TO public;
            """);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _database!.DisposeAsync();
        await _server!.DoAsync($"DROP DATABASE {_name} WITH (FORCE)");
    }

    /// <summary>Asks on a session that no pool has.</summary>
    public Task<T> AskAsync<T>(string sql) => _database!.AskAsync<T>(sql);

    /// <summary>Sends a notification on the channel that mutations listen to.</summary>
    public Task NotifyAsync() => _database!.DoAsync("NOTIFY litter, 'secret'");

    /// <summary>Sends a notification, and lets the listeners' servers pass it on.</summary>
    public async Task NotifyAndDeliverAsync()
    {
        await NotifyAsync();
        await _database!.DoAsync("SELECT pg_sleep(0.02)");
    }
}
