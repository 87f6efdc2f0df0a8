using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using Npgsql;
using SafePool.TestKit;

namespace SafePool.LoadTests.Capacity;

/// <summary>Two hundred callers who block, in a process whose thread pool has two threads: a pool that needs one of them to serve a caller who blocks hangs, until the budget is over.</summary>
internal static class Starvation
{
    /// <summary>How a process is told to play one side.</summary>
    public const string Command = "starvation-of";

    private const string Raw = "raw Npgsql";
    private const string Safe = "SafePool";
    private const string Bare = "SemaphoreSlim over open connections";
    private const string Pooled = "on the two threads of the pool";
    private const string Own = "on threads of their own, both of the pool blocked";
    private const string Millisecond = "1 ms";
    private const string Query = "`SELECT 1`";
    private const int Callers = 200;
    private const int Threads = 2;
    private const int Rounds = 5;
    private static readonly TimeSpan _budget = TimeSpan.FromSeconds(5);

    /// <summary>Each side in a process of its own: what hangs keeps its threads.</summary>
    public static async Task RunAsync(PostgresServer server)
    {
        Console.WriteLine("| callers | connections | held for | side | served, in the worst round | all served: median | best / worst |");
        Console.WriteLine("|---|---:|---|---|---:|---:|---:|");
        foreach (var callers in new[] { Pooled, Own })
        {
            foreach (var held in new[] { Millisecond, Query })
            {
                foreach (var side in new[] { Raw, Safe, Bare })
                {
                    // Started by itself, or as an argument of dotnet.
                    var program = Environment.ProcessPath!;
                    string[] itself = Path.GetFileNameWithoutExtension(program) == "dotnet" ? [Environment.GetCommandLineArgs()[0]] : [];
                    using var process = Process.Start(new ProcessStartInfo(program, [.. itself, Command, server.ConnectionString, side, callers, held]))!;
                    await process.WaitForExitAsync();
                }
            }
        }
    }

    /// <summary>One line of the table.</summary>
    public static void Play(string connectionString, string side, string callers, string held)
    {
        ThreadPool.SetMinThreads(Threads, Threads);
        ThreadPool.SetMaxThreads(Threads, Threads);
        var connections = callers == Pooled ? 1 : 4;
        Action<NpgsqlConnection> hold = held == Query ? Ask : Pause;
        var play = callers == Pooled ? (Func<Action, (int Served, TimeSpan Took)>)OnThePool : BesideTheBlockedPool;
        List<(int Served, TimeSpan Took)> rounds = [];
        do
        {
            rounds.Add(side switch
            {
                Raw => PlayRaw(connectionString, connections, hold, play),
                Safe => PlaySafePool(connectionString, connections, hold, play),
                _ => PlayBare(connectionString, connections, hold, play),
            });
        }
        while (rounds.Count < Rounds && rounds[^1].Served == Callers);
        Report($"{callers} | {connections} | {held} | {side}", rounds);

        // Whatever hangs.
        Environment.Exit(0);
    }

    private static (int Served, TimeSpan Took) PlayRaw(
        string connectionString, int connections, Action<NpgsqlConnection> hold, Func<Action, (int Served, TimeSpan Took)> play)
    {
        var text = new NpgsqlConnectionStringBuilder(connectionString) { MaxPoolSize = connections, Timeout = (int)_budget.TotalSeconds };
        using var source = NpgsqlDataSource.Create(text.ConnectionString);
        return play(() =>
        {
            using var connection = source.OpenConnection();
            hold(connection);
        });
    }

    private static (int Served, TimeSpan Took) PlaySafePool(
        string connectionString, int connections, Action<NpgsqlConnection> hold, Func<Action, (int Served, TimeSpan Took)> play)
    {
        using var pool = CreatePool(connectionString, connections);
        return play(() =>
        {
            using var lease = pool.Rent();
            hold(lease.Connection);
        });
    }

    private static ConnectionPool CreatePool(string connectionString, int connections)
        => ConnectionPool.Create(connectionString, options => (options.MaxSize, options.AcquireTimeout) = (connections, _budget));

    /// <summary>What the driver and the runtime can do without any pool: nothing here needs a thread of the thread pool but what a command may.</summary>
    private static (int Served, TimeSpan Took) PlayBare(
        string connectionString, int connections, Action<NpgsqlConnection> hold, Func<Action, (int Served, TimeSpan Took)> play)
    {
        using var source = NpgsqlDataSource.Create(connectionString);
        var open = new ConcurrentBag<NpgsqlConnection>(Enumerable.Range(0, connections).Select(_ => source.OpenConnection()));
        using var permits = new SemaphoreSlim(connections);
        return play(() =>
        {
            permits.Wait();
            open.TryTake(out var connection);
            hold(connection!);
            open.Add(connection!);
            permits.Release();
        });
    }

    private static void Ask(NpgsqlConnection connection)
    {
        using var command = new NpgsqlCommand("SELECT 1", connection);
        command.ExecuteScalar();
    }

    private static void Pause(NpgsqlConnection connection)
    {
        using var never = new ManualResetEventSlim();
        never.Wait(1);
    }

    private static (int Served, TimeSpan Took) OnThePool(Action call)
    {
        return All(call, work => ThreadPool.UnsafeQueueUserWorkItem(static work => work(), work, preferLocal: false));
    }

    private static (int Served, TimeSpan Took) BesideTheBlockedPool(Action call)
    {
        using var release = new ManualResetEventSlim();
        using var blocked = new CountdownEvent(Threads);
        for (var i = 0; i < Threads; i++)
        {
            ThreadPool.UnsafeQueueUserWorkItem(
                _ =>
                {
                    blocked.Signal();
                    release.Wait();
                },
                null);
        }

        blocked.Wait();
        var result = All(call, work => new Thread(() => work()) { IsBackground = true }.UnsafeStart());
        release.Set();
        return result;
    }

    private static (int Served, TimeSpan Took) All(Action call, Action<Action> start)
    {
        var served = 0;
        var ended = new CountdownEvent(Callers);
        var begun = Clock.Now;
        for (var i = 0; i < Callers; i++)
        {
            start(() =>
            {
                try
                {
                    call();
                    Interlocked.Increment(ref served);
                }
                catch (System.Data.Common.DbException)
                {
                    // Counted by not being served.
                }
                finally
                {
                    ended.Signal();
                }
            });
        }

        // Whoever is not back by then hangs.
        ended.Wait(2 * _budget);
        return (Volatile.Read(ref served), Clock.Between(begun, Clock.Now));
    }

    private static void Report(string what, IReadOnlyList<(int Served, TimeSpan Took)> rounds)
    {
        var times = rounds.Select(round => round.Took.TotalMilliseconds).Order().ToArray();
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"| {what} | {rounds.Min(round => round.Served)} of {Callers} | {times[times.Length / 2]:0} ms | {times[0]:0} / {times[^1]:0} ms |"));
    }
}
