using Npgsql;

namespace SafePool.TestKit;

/// <summary>A PostgreSQL for tests, samples and benchmarks, wherever this machine has one.</summary>
/// <remarks>
/// <para>Looked for in this order: the connection string in SAFEPOOL_POSTGRES; server programs on this machine;
/// a container, if the build has Testcontainers and there is a Docker socket.</para>
/// <para>All callers in a process share one server, so that acquiring is free but for the first time.
/// Who needs to stop or to configure it starts a <see cref="PostgresServer"/> instead.</para>
/// </remarks>
public sealed class TestDatabase : IAsyncDisposable
{
    private const string NothingFound =
        """
        No PostgreSQL found. There are three ways to provide one:
        1. set SAFEPOOL_POSTGRES to the connection string of a server that may be written to;
        2. install server programs, on the PATH or in /usr/lib/postgresql (package postgresql), or set SAFEPOOL_PG_VERSION to one of 13 to 18;
        3. run Docker and build with -p:UseTestcontainers=true.
        """;

    private static readonly SemaphoreSlim Gate = new(1);
    private static PostgresServer? _server;

    private TestDatabase(string connectionString, string origin)
    {
        ConnectionString = connectionString;
        Origin = origin;
    }

    /// <summary>Gets how to connect, with rights to create what a test needs.</summary>
    public string ConnectionString { get; }

    /// <summary>Gets how it was found, to be printed: "PostgreSQL 17.5 from /usr/lib/postgresql/17/bin".</summary>
    public string Origin { get; }

    /// <summary>Finds a database, or starts one that later callers share.</summary>
    /// <exception cref="InvalidOperationException">There is none; the message names the three ways to provide one.</exception>
    public static async Task<TestDatabase> AcquireAsync(CancellationToken cancellationToken = default)
    {
        if (Environment.GetEnvironmentVariable("SAFEPOOL_POSTGRES") is { Length: > 0 } given)
        {
            return await FromGivenAsync(given, cancellationToken);
        }

        await Gate.WaitAsync(cancellationToken);
        try
        {
            return await FromProgramsLockedAsync(cancellationToken)
                ?? await FromContainerLockedAsync(cancellationToken)
                ?? throw new InvalidOperationException(NothingFound);
        }
        finally
        {
            Gate.Release();
        }
    }

    /// <summary>Stops what <see cref="AcquireAsync"/> started, sooner than the end of the process would.</summary>
    public static async Task ShutdownAsync()
    {
        await Gate.WaitAsync();
        try
        {
            if (Interlocked.Exchange(ref _server, null) is { } server)
            {
                await server.DisposeAsync();
            }

            await ContainerDatabase.StopAsync();
        }
        finally
        {
            Gate.Release();
        }
    }

    /// <summary>Does not stop the server: the next caller gets the same.</summary>
    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private static async Task<TestDatabase> FromGivenAsync(string connectionString, CancellationToken cancellationToken)
    {
        var version = await ReadVersionAsync(connectionString, cancellationToken);
        return new TestDatabase(connectionString, $"PostgreSQL {version} from SAFEPOOL_POSTGRES");
    }

    private static async Task<TestDatabase?> FromProgramsLockedAsync(CancellationToken cancellationToken)
    {
        if (_server is null && await PostgresBinaries.FindAsync(cancellationToken) is null)
        {
            return null;
        }

        _server ??= await PostgresServer.StartAsync(cancellationToken: cancellationToken);
        if (!_server.IsRunning)
        {
            await _server.StartAgainAsync(cancellationToken);
        }

        return new TestDatabase(_server.ConnectionString, $"PostgreSQL {_server.Version} from {_server.BinariesDirectory}");
    }

    private static async Task<TestDatabase?> FromContainerLockedAsync(CancellationToken cancellationToken)
    {
        if (await ContainerDatabase.StartAsync(cancellationToken) is not { } connectionString)
        {
            return null;
        }

        var version = await ReadVersionAsync(connectionString, cancellationToken);
        return new TestDatabase(connectionString, $"PostgreSQL {version} from a container of {ContainerDatabase.Image}");
    }

    private static async Task<Version> ReadVersionAsync(string connectionString, CancellationToken cancellationToken)
    {
        var unpooled = new NpgsqlConnectionStringBuilder(connectionString) { Pooling = false };
        await using var connection = new NpgsqlConnection(unpooled.ConnectionString);
        await connection.OpenAsync(cancellationToken);
        return connection.PostgreSqlVersion;
    }
}
