using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.Tests.Integration;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Isolation;

/// <summary>Keeps docs/session-reset.md true: every cell is measured.</summary>
[Collection(nameof(AuditDatabase))]
public sealed partial class SessionResetTableTests(AuditDatabase database)
{
    private static readonly Situation[] _columns =
    [
        new("`Strict`", SessionReset.Strict, HasPrepared: true),
        new("`Strict`, by `OpenConnection`", SessionReset.Strict, HasPrepared: true, IsDropIn: true),
        new("`Full`", SessionReset.Full),
        new("`Full`, Npgsql has prepared", SessionReset.Full, HasPrepared: true),
        new("`Rollback`", SessionReset.Rollback),
    ];

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Conformance", "41")]
    [Trait("Conformance", "43")]
    public async Task Tables_ComparedWithWhatTheNextLeaseSees_SayExactlyThat()
    {
        var path = DocumentPath();
        var document = File.ReadAllText(path);
        var measured = new Dictionary<string, string>
        {
            ["next"] = await TableAsync("left behind", Mutations.ForTheNext),
            ["rest"] = await TableAsync("at rest", Mutations.AtRest),
            ["life"] = await TableAsync("for life", Mutations.ForLife),
            ["cost"] = await CostsAsync(),
        };

        var expected = Measured().Replace(document, table => $"{table.Groups["mark"].Value}\n{measured[table.Groups["name"].Value]}\n");

        if (Environment.GetEnvironmentVariable("SAFEPOOL_ACCEPT") == "1")
        {
            File.WriteAllText(path, expected);
            document = expected;
        }

        Assert.All(measured.Keys, name => Assert.Contains($"<!-- measured: {name} -->", document, StringComparison.Ordinal));
        var wrong = expected.Split('\n').Except(document.Split('\n'));
        Assert.True(
            expected == document,
            $"docs/session-reset.md is not what was measured. Run with SAFEPOOL_ACCEPT=1 to rewrite it. Measured:\n{string.Join('\n', wrong)}");
    }

    private static string Row(string head, IEnumerable<string> cells) => $"| {head} | {string.Join(" | ", cells)} |";

    private static string Heading(string head)
        => Row(head, _columns.Select(column => column.Name)) + "\n|---|" + string.Concat(_columns.Select(_ => "---|"));

    private async Task<string> TableAsync(string head, IReadOnlyList<Mutation> mutations)
    {
        var cells = mutations.Select(_ => new List<string>()).ToArray();
        foreach (var situation in _columns)
        {
            await using var server = await CreateAsync(situation.Reset);
            for (var i = 0; i < mutations.Count; i++)
            {
                cells[i].Add(await IsSeenAsync(server, mutations[i], situation) ? "**seen**" : "gone");
            }
        }

        return string.Join('\n', mutations.Select((mutation, i) => Row(mutation.Name, cells[i])).Prepend(Heading(head)));
    }

    private async Task<bool> IsSeenAsync(PoolOnServer server, Mutation mutation, Situation situation)
    {
        // A new session for each, so that what one mutation leaves for good is not taken for another's.
        server.Pool.Clear();
        var opened = server.Snapshot.TotalOpened;
        await (await UseAsync(server, situation, mutation.DoAsync))();

        var seenAtRest = mutation.SeenAtRestAsync is { } seenAtRestAsync && await seenAtRestAsync(database);
        await using var next = await server.Pool.RentAsync(Cancellation);
        var seen = await mutation.SeenAsync(next.Connection, database);
        Assert.Equal(opened + 1, server.Snapshot.TotalOpened);
        return seen || seenAtRest;
    }

    private async Task<string> CostsAsync()
    {
        var clean = new List<(int Return, int Rent)>();
        var open = new List<(int Return, int Rent)>();
        foreach (var situation in _columns)
        {
            clean.Add(await RoundTripsAsync(situation, "SELECT 1"));
            open.Add(await RoundTripsAsync(situation, "BEGIN; SELECT 1"));
        }

        return string.Join(
            '\n',
            Heading("round trips"),
            Row("return of a lease", clean.Select(cost => $"{cost.Return}")),
            Row("return with a transaction left open", open.Select(cost => $"{cost.Return}")),
            Row("rent after that", open.Select(cost => $"{cost.Rent}")));
    }

    /// <summary>As Npgsql logs its own commands and the pool's.</summary>
    private async Task<(int Return, int Rent)> RoundTripsAsync(Situation situation, string sql)
    {
        var driver = new LogCollector();
        await using var server = await CreateAsync(situation.Reset, driver);
        var returnAsync = await UseAsync(server, situation, connection => connection.DoAsync(sql));

        var before = Count();
        await returnAsync();
        var returned = Count();
        await using var next = await server.Pool.RentAsync(Cancellation);
        return (returned - before, Count() - returned);

        int Count() => driver.Entries.Count(entry => entry.Message.StartsWith("Executing", StringComparison.Ordinal)
            || entry.Message.StartsWith("Rolling back", StringComparison.Ordinal));
    }

    /// <summary>Uses a session; what comes back returns it.</summary>
    private static async Task<Func<ValueTask>> UseAsync(PoolOnServer server, Situation situation, Func<NpgsqlConnection, Task> doAsync)
    {
        var lease = situation.IsDropIn ? default : await server.Pool.RentAsync(Cancellation);
        var connection = situation.IsDropIn ? await server.Pool.OpenConnectionAsync(Cancellation) : lease.Connection;
        if (situation.HasPrepared)
        {
            await Probes.PrepareAsync(connection);
        }

        await doAsync(connection);
        return situation.IsDropIn ? connection.DisposeAsync : lease.DisposeAsync;
    }

    /// <summary>With a clock that stands still, so that no sweep of the pool tidies a session before the next lease gets it.</summary>
    private Task<PoolOnServer> CreateAsync(SessionReset reset, ILoggerFactory? driver = null)
        => PoolOnServer.CreateAsync(
            options =>
            {
                (options.MaxSize, options.Reset) = (1, reset);
                options.ConfigureDataSource = driver is null ? null : builder => builder.UseLoggerFactory(driver);
            },
            clock: new ManualTimeProvider(),
            server: database.ConnectionString);

    private static string DocumentPath([CallerFilePath] string thisFile = "")
        => Path.Combine(Path.GetDirectoryName(thisFile)!, "..", "..", "..", "docs", "session-reset.md");

    [GeneratedRegex(@"(?<mark><!-- measured: (?<name>\w+) -->)\n(\|.*\|\n)*")]
    private static partial Regex Measured();

    private sealed record Situation(string Name, SessionReset Reset, bool HasPrepared = false, bool IsDropIn = false);
}
