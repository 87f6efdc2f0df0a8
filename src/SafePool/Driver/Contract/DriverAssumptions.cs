using System.Data;
using System.Diagnostics.Metrics;
using Npgsql;

namespace SafePool.Driver.Contract;

/// <summary>What can be found out about the driver for nothing. All the rest that the pool stands on is in the test project SafePool.DriverContract.</summary>
internal static class DriverAssumptions
{
    // The first that was not tested; Directory.Packages.props says the same to whoever restores.
    private const int FirstUntestedMajor = 11;

    private static readonly CancellationToken _cancelled = new(canceled: true);

    /// <summary>Of the driver alone, looked at through a data source that leads nowhere.</summary>
    public static IReadOnlyList<DriverAssumption<NpgsqlDataSource>> OfDriver { get; } =
    [
        new("its version is one that was tested", "it may behave in ways that nobody has looked at", static _ => Version is { Major: < FirstUntestedMajor }),
        new("the members that the pool calls exist", "rents and returns fail with MissingMethodException", HasMembers),
        new("an open with a cancelled token gives up at once when nothing is idle", "rents open connections that nobody counts", GivesUp),
        new("a connection that gave up can be opened again", "Dapper and EF Core cannot open what was refused once", IsClosedAfterwards),
        new("an open of a disposed connection is refused at once", "a rent onto a disposed object fails", RefusesDisposed),
        new("an open of a disposed data source says so", "rents fail when the pool renews its data source", SaysThatItsSourceIsDisposed),
        new("the identity of a closed connection is refused", "one connection is taken for another", static nowhere => Refuses(nowhere, static closed => closed.PostgresParameters)),
        new("the keywords of the connection string are known", "no pool can be built", static _ => KnowsKeywords()),
        new("failed commands are counted by the meter", "connections that are wrong for their purpose are kept", static _ => HasInstrument("db.client.operation.failed")),
    ];

    /// <summary>Of a session, looked at on the first that was opened, before anybody has it.</summary>
    public static IReadOnlyList<DriverAssumption<NpgsqlConnection>> OfSession { get; } =
    [
        new("a connection has one object of parameters", "connections are not told apart", static open => ReferenceEquals(open.PostgresParameters, open.PostgresParameters)),
        new("an open connection says that it is open and nothing runs", "every return is taken for a busy one", static open => open.FullState == ConnectionState.Open),
        new("how far a connection has read and written can be told", "a lease dropped with a reader open is taken back only once it is overdue", static open => TransferProgress.Of(open) is not null),
        new("an open of an open connection is refused at once", "a rent onto an object in use fails", static open => Throws<InvalidOperationException>(() => open.OpenAsync(_cancelled))),
    ];

    /// <summary>Of the driver, as it was loaded.</summary>
    public static Version? Version { get; } = typeof(NpgsqlConnection).Assembly.GetName().Version;

    private static bool GivesUp(NpgsqlDataSource nowhere) => GivesUp(nowhere.CreateConnection());

    private static bool IsClosedAfterwards(NpgsqlDataSource nowhere)
    {
        var connection = nowhere.CreateConnection();
        return GivesUp(connection) && connection.FullState == ConnectionState.Closed && GivesUp(connection);
    }

    private static bool GivesUp(NpgsqlConnection connection)
    {
        var opening = connection.OpenAsync(_cancelled);
        if (opening.IsCanceled)
        {
            return true;
        }

        // It connects, in vain, and nobody waits for what comes of it.
        _ = opening.ContinueWith(static failed => _ = failed.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
        return false;
    }

    private static bool RefusesDisposed(NpgsqlDataSource nowhere)
    {
        var connection = nowhere.CreateConnection();
        connection.Dispose();
        return Throws<InvalidOperationException>(() => connection.OpenAsync(_cancelled));
    }

    private static bool SaysThatItsSourceIsDisposed(NpgsqlDataSource nowhere)
    {
        var source = NpgsqlDataSource.Create(nowhere.ConnectionString);
        source.Dispose();
        using var connection = NewOf(source);
        return connection is null || connection.OpenAsync(_cancelled).Exception?.InnerException is ObjectDisposedException;
    }

    /// <summary>Null when the data source refuses that already.</summary>
    private static NpgsqlConnection? NewOf(NpgsqlDataSource disposed)
    {
        try
        {
            return disposed.CreateConnection();
        }
        catch (ObjectDisposedException)
        {
            return null;
        }
    }

    private static bool Refuses(NpgsqlDataSource nowhere, Func<NpgsqlConnection, object> read)
    {
        using var closed = nowhere.CreateConnection();
        return Throws<InvalidOperationException>(() => read(closed));
    }

    /// <summary>Bound, but not called: what is missing throws.</summary>
    private static bool HasMembers(NpgsqlDataSource nowhere)
    {
        using var closed = nowhere.CreateConnection();
        return (Delegate[])[closed.BeginBinaryExport, closed.UnprepareAll, (Func<CancellationToken, Task>)closed.WaitAsync, nowhere.Clear] is { Length: > 0 };
    }

    private static bool KnowsKeywords()
    {
        string[] keywords =
        [
            "Maximum Pool Size", "Minimum Pool Size", "Timeout", "Connection Idle Lifetime", "Connection Lifetime", "Connection Pruning Interval",
            "No Reset On Close", "Enlist", "Keepalive", "Host Recheck Seconds", "Options", "Application Name", "Target Session Attributes", "Pooling",
        ];
        var builder = new NpgsqlConnectionStringBuilder();
        return Array.TrueForAll(keywords, builder.ContainsKey) && !builder.TryGetValue("No Such Keyword", out _);
    }

    private static bool HasInstrument(string name)
    {
        var isThere = false;
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, _) => isThere |= instrument.Meter.Name == "Npgsql" && instrument.Name == name,
        };
        listener.Start();
        return isThere;
    }

    private static bool Throws<TException>(Func<object> act)
        where TException : Exception
    {
        try
        {
            _ = act();
            return false;
        }
        catch (TException)
        {
            return true;
        }
    }
}
