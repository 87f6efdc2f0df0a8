using System.Globalization;
using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Outages;

/// <summary>Long work is cut off in its midst: whoever does it learns of it, and the place comes back.</summary>
public sealed class InterruptedWorkTests
{
    private static readonly string[] _works = ["statements", "batch", "copy in", "copy out", "reader"];

    private static readonly TimeSpan _bound = TimeSpan.FromSeconds(20);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public static TheoryData<string, bool> Works
    {
        get
        {
            var data = new TheoryData<string, bool>();
            foreach (var work in _works)
            {
                data.Add(work, false);
                data.Add(work, true);
            }

            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Works))]
    [Trait("Conformance", "31")]
    [Trait("Conformance", "48")]
    public async Task Work_ItsBackendIsTerminated_FailsAndGivesThePlaceBack(string work, bool dropIn)
    {
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.AcquireTimeout) = (1, _bound));
        var session = new TaskCompletionSource<int>();
        var working = WorkAsync(server, work, dropIn, session);
        var interrupted = await session.Task.WaitAsync(_bound, TimeProvider.System, Cancellation);
        await Eventually.True(async () => await server.ActivityAsync(interrupted) == "active", "the work is under way");

        await server.TerminateAsync(interrupted);

        var error = await Assert.ThrowsAnyAsync<Exception>(() => working.WaitAsync(_bound, TimeProvider.System, Cancellation));
        Assert.True(error is NpgsqlException or IOException, $"{error}");
        await Outstanding.NoneAsync(server.Pool);
        Assert.DoesNotContain(interrupted, await server.BurstAsync(1, Cancellation));
        Assert.Equal((2, 1), ((int)server.Snapshot.TotalOpened, (int)server.Snapshot.TotalClosed));
    }

    [Theory]
    [InlineData(StopMode.Immediate)]
    [InlineData(StopMode.Fast)]
    [Trait("Conformance", "31")]
    [Trait("Conformance", "83")]
    public async Task WorkOfEveryKind_TheServerIsRestarted_FailsAndGivesAllPlacesBack(StopMode mode)
    {
        await using var postgres = await PostgresServer.StartAsync(cancellationToken: Cancellation);
        var places = 2 * _works.Length;
        await using var server = await PoolOnServer.CreateAsync(
            options =>
            {
                options.MaxSize = places;
                options.AcquireTimeout = options.Breaker.TripAfter = TimeSpan.FromSeconds(30);
            },
            server: postgres.ConnectionString);
        var sessions = Enumerable.Range(0, places).Select(_ => new TaskCompletionSource<int>()).ToArray();
        var working = sessions.Select((session, i) => WorkAsync(server, _works[i / 2], dropIn: i % 2 == 1, session)).ToArray();
        var before = await Task.WhenAll(sessions.Select(session => session.Task)).WaitAsync(_bound, TimeProvider.System, Cancellation);
        foreach (var session in before)
        {
            await Eventually.True(async () => await server.ActivityAsync(session) == "active", "the work is under way");
        }

        await postgres.RestartAsync(mode, Cancellation);

        foreach (var work in working)
        {
            var error = await Assert.ThrowsAnyAsync<Exception>(() => work.WaitAsync(_bound, TimeProvider.System, Cancellation));
            Assert.True(error is NpgsqlException or IOException, $"{error}");
        }

        await Outstanding.NoneAsync(server.Pool);
        Assert.Equal(places, (await server.BurstAsync(places, Cancellation)).Distinct().Count());
        Assert.Equal((2 * places, places), ((int)server.Snapshot.TotalOpened, (int)server.Snapshot.TotalClosed));
    }

    private static async Task WorkAsync(PoolOnServer server, string work, bool dropIn, TaskCompletionSource<int> session)
    {
        if (dropIn)
        {
            await using var connection = await server.Pool.OpenConnectionAsync(Cancellation);
            await WorkAsync(connection, work, session);
        }
        else
        {
            await using var lease = await server.Pool.RentAsync(Cancellation);
            await WorkAsync(lease.Connection, work, session);
        }
    }

    /// <summary>As users write it, and without end.</summary>
    private static async Task WorkAsync(NpgsqlConnection connection, string work, TaskCompletionSource<int> session)
    {
        await connection.DoAsync("CREATE TEMP TABLE numbers (number int)");
        session.SetResult(connection.ProcessID);
        switch (work)
        {
            case "statements":
                await connection.DoAsync("INSERT INTO numbers VALUES (1); SELECT pg_sleep(600); INSERT INTO numbers VALUES (2)");
                break;
            case "batch":
                await using (var batch = new NpgsqlBatch(connection) { BatchCommands = { new("SELECT 1"), new("SELECT pg_sleep(600)"), new("SELECT 2") } })
                {
                    await batch.ExecuteNonQueryAsync(Cancellation);
                }

                break;
            case "copy in":
                await CopyInAsync(connection);
                break;
            case "copy out":
                using (var export = await connection.BeginTextExportAsync("COPY (SELECT generate_series(1, 2000000000)) TO STDOUT", Cancellation))
                {
                    while (await export.ReadLineAsync(Cancellation) is not null)
                    {
                    }
                }

                break;
            default:
                await using (var command = new NpgsqlCommand("SELECT generate_series(1, 2000000000)", connection))
                {
                    await using var reader = await command.ExecuteReaderAsync(Cancellation);
                    while (await reader.ReadAsync(Cancellation))
                    {
                    }
                }

                break;
        }
    }

    private static async Task CopyInAsync(NpgsqlConnection connection)
    {
        await using var import = await connection.BeginTextImportAsync("COPY numbers FROM STDIN", Cancellation);
        for (var i = 0; ; i++)
        {
            await import.WriteAsync(string.Create(CultureInfo.InvariantCulture, $"{i}\n"));
            if (i % 100 == 0)
            {
                await import.FlushAsync(Cancellation);
                await OutageKit.PassAsync(TimeSpan.FromMilliseconds(5), Cancellation);
            }
        }
    }
}
