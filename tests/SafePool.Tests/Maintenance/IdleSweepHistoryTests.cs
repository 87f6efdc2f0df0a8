using System.Data;
using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Maintenance;

/// <summary>Whatever happened before: what a lease has left behind is gone from the server when its connection has rested for long enough.</summary>
public sealed class IdleSweepHistoryTests(ITestOutputHelper output)
{
    [Fact]
    public async Task Maintenance_AnyHistory_FlushesWhateverRestsForThreeSeconds()
    {
        for (var run = 0; run < 300; run++)
        {
            var seed = Random.Shared.Next();
            try
            {
                await RunAsync(new Random(seed));
            }
            catch (Exception)
            {
                output.WriteLine($"seed {seed}");
                throw;
            }
        }
    }

    /// <summary>Real threads, so that returns fall between the steps of a round, and its steps between theirs.</summary>
    [Fact]
    public async Task Maintenance_AfterBurstsFromManyThreads_NothingIsLeftOnTheServer()
    {
        var seed = Random.Shared.Next();
        output.WriteLine($"seed {seed}");
        await using var scripted = Unprobed.Create(options =>
        {
            (options.MaxSize, options.MaxConcurrentOpens, options.AcquireTimeout, options.MaxLifetime) =
                (6, 2, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);

            // Time flies while an open waits for a thread: none is to be given up for that.
            options.ConnectTimeout = TimeSpan.FromSeconds(1024);
        });

        for (var burst = 0; burst < 300; burst++)
        {
            var work = Task.WhenAll(Enumerable.Range(0, 3).Select(worker => Task.Run(
                () => Work(scripted, new Random(seed + (burst * 3) + worker)), TestContext.Current.CancellationToken)));
            while (!work.IsCompleted)
            {
                scripted.Tick();
            }

            await work;
            await Outstanding.NoneAsync(scripted.Pool);
            scripted.Tick(12);
            for (var more = 0; more < 12 && scripted.Source.LitteredAtRest.Count > 0; more++)
            {
                // A tick does nothing while the one before waits for a thread, which a busy machine may not have for all of the twelve.
                await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, TestContext.Current.CancellationToken);
                scripted.Tick();
            }

            Assert.True(scripted.Source.LitteredAtRest.Count == 0, $"burst {burst}: {string.Join(", ", scripted.Source.LitteredAtRest)} of {scripted.Snapshot}, asleep: {scripted.Pool.Parts.Clock.IsStale}");
        }
    }

    private static void Work(ScriptedPool scripted, Random random)
    {
        for (var round = random.Next(30); round >= 0; round--)
        {
            if (!TryRent(scripted.Pool, out var rented))
            {
                continue;
            }

            using var lease = rented;
            scripted.Source.Litter(lease.Connection);
            Thread.SpinWait(random.Next(300));
            if (random.Next(10) == 0)
            {
                scripted.Source.SetState(lease.Connection, ConnectionState.Closed);
            }
        }
    }

    // While time flies an open may end by ConnectTimeout, which is nobody's fault here.
    private static bool TryRent(ConnectionPool pool, out Lease lease)
    {
        try
        {
            lease = pool.Rent();
            return true;
        }
        catch (NpgsqlException)
        {
            lease = default;
            return false;
        }
    }

    private static async Task RunAsync(Random random)
    {
        await using var scripted = Unprobed.Create(options => (options.MaxSize, options.MaxWaiters) = (8, 0));
        await scripted.FillAsync(random.Next(1, 9));
        var history = new History(scripted, random, usersClose: random.Next(2) == 0);
        scripted.Source.DuringExecutes = () =>
        {
            if (random.Next(4) == 0)
            {
                history.Step();
            }

            return Task.CompletedTask;
        };

        var pace = random.Next(1, 12);
        for (var step = 0; step < 300; step++)
        {
            if (random.Next(pace) == 0)
            {
                history.Tick();
            }
            else
            {
                history.Step();
            }
        }

        scripted.Source.DuringExecutes = null;
        history.ReturnAll();
        scripted.Tick(12);
        Assert.Empty(scripted.Source.LitteredAtRest);

        var executed = scripted.Source.Executed.Count;
        scripted.Tick(100);
        Assert.InRange(scripted.Source.Executed.Count, executed, executed + 8);
        executed = scripted.Source.Executed.Count;
        scripted.Tick(100);
        Assert.Equal(executed, scripted.Source.Executed.Count);
    }

    /// <summary>Rents and returns, and remembers since when each connection rests.</summary>
    private sealed class History(ScriptedPool scripted, Random random, bool usersClose)
    {
        // A second and a tick; and once more, because a round that somebody disturbs may miss one.
        private static readonly TimeSpan _longest = TimeSpan.FromSeconds(3);
        private readonly List<(Lease Lease, int Number)> _out = [];
        private readonly Dictionary<int, long> _restsSince = [];
        private readonly Queue<int> _lately = new([0, 0, 0]);
        private int _returns;
        private long _busyAt;

        public void Step()
        {
            switch (random.Next(10))
            {
                case < 5 when scripted.Pool.TryRent(out var lease):
                    scripted.Source.Litter(lease.Connection);
                    _out.Add((lease, scripted.Source.NumberOf(lease.Connection)));
                    break;
                case < 9 when _out.Count > 0:
                    Return(random.Next(_out.Count));
                    break;
                case 9 when usersClose && _out.Count > 0 && scripted.Source.StateOf(Any().Connection) == ConnectionState.Open:
                    scripted.Source.SetState(Any().Connection, ConnectionState.Closed);
                    break;
            }
        }

        public void Tick()
        {
            _lately.Enqueue(_returns);
            var isBusy = _lately.Sum() >= scripted.Snapshot.Idle;
            _lately.Dequeue();
            _returns = 0;
            scripted.Tick();
            var now = scripted.Clock.GetTimestamp();
            _busyAt = isBusy ? now : _busyAt;
            var leased = _out.Select(held => held.Number).ToHashSet();
            foreach (var number in scripted.Source.LitteredAtRest.Where(number => !leased.Contains(number)))
            {
                var rested = TimeSpan.FromTicks(now - Math.Max(_restsSince.GetValueOrDefault(number), _busyAt));
                Assert.True(rested <= _longest, $"connection {number} has rested for {rested}, at most {_longest}");
            }
        }

        public void ReturnAll()
        {
            while (_out.Count > 0)
            {
                Return(0);
            }
        }

        private Lease Any() => _out[_returns % _out.Count].Lease;

        private void Return(int index)
        {
            var (lease, number) = _out[index];
            _out.RemoveAt(index);
            _returns++;
            _restsSince[number] = scripted.Clock.GetTimestamp();
            lease.Dispose();
        }
    }
}
