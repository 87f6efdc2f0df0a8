using System.Data;
using Npgsql;
using SafePool.Admission;
using SafePool.Logging;
using SafePool.TestKit;
using SafePool.Time;
using Xunit;

namespace SafePool.Tests.Leaks;

/// <summary>Hundreds of random histories; after each step the pool must have said exactly what the <see cref="LeakOracle"/> says.</summary>
public sealed class LeakOracleTests(ITestOutputHelper output)
{
    private const int Histories = 200;
    private const int Steps = 60;

    [Fact]
    [Trait("Conformance", "86")]
    [Trait("Conformance", "88")]
    [Trait("Conformance", "89")]
    public async Task Pool_AnyHistory_ReportsWhatTheOracleSays()
    {
        var first = Random.Shared.Next();
        var said = 0;
        for (var i = 0; i < Histories; i++)
        {
            said += await PlayAsync(first + i);
        }

        output.WriteLine($"Seeds {first} to {first + Histories - 1}: {said} reports as expected.");

        // Otherwise this would test silence.
        Assert.True(said > Histories, $"only {said} reports in {Histories} histories");
    }

    private async Task<int> PlayAsync(int seed)
    {
        await using var history = new History(new Random(seed));
        try
        {
            for (var step = 0; step < Steps; step++)
            {
                await history.StepAsync();
            }

            history.AssertAbandonedAreDead();
            return history.Said;
        }
        catch
        {
            output.WriteLine($"Seed {seed}");
            throw;
        }
    }

    private sealed class History : IAsyncDisposable
    {
        private static readonly TimeSpan _threshold = TimeSpan.FromSeconds(2);

        private readonly Random _random;
        private readonly ScriptedPool _pool;
        private readonly LeakOracle _oracle;
        private readonly Dictionary<long, (Lease Lease, NpgsqlConnection Connection)> _leases = [];
        private readonly List<Lease> _abandoned = [];
        private readonly Queue<(Task<Lease> Rent, TimeSpan? ExpectedHold)> _waiting = new();
        private readonly int _size;

        public History(Random random)
        {
            _random = random;
            _size = random.Next(1, 5);
            var busyThreshold = _threshold * random.Next(1, 5);
            var abandonAfter = _threshold * random.Next(1, 4);
            var terminates = random.Next(2) == 0;
            _pool = ScriptedPool.Create(options =>
            {
                (options.MaxSize, options.MaxConcurrentOpens, options.Leaks.Threshold, options.Leaks.BusyThreshold) = (_size, _size, _threshold, busyThreshold);
                (options.Leaks.AbandonAfter, options.Leaks.TerminateRunning) = (abandonAfter, terminates);
                (options.IdleTimeout, options.MaxLifetime) = (Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            });
            _oracle = new LeakOracle(_threshold, busyThreshold, abandonAfter, terminates);
        }

        public int Said { get; private set; }

        private TimeSpan Now => TimeSpan.FromTicks(_pool.Clock.GetTimestamp());

        public async Task StepAsync()
        {
            switch (_random.Next(10))
            {
                case 0 or 1:
                    await RentAsync();
                    break;
                case 2 when _leases.Count > 0:
                    await ReturnAsync(Pick());
                    break;
                case 3 when _leases.Count > 0:
                    var used = Pick();
                    _ = used.Lease.Connection;
                    _oracle.Used(used.Lease.Id, Now);
                    break;
                case 4 when _leases.Count > 0:
                    SetState(Pick(), ConnectionState.Executing);
                    break;
                case 5 when _leases.Count > 0:
                    SetState(Pick(), ConnectionState.Fetching);
                    break;
                case 6 when _leases.Count > 0:
                    SetState(Pick(), ConnectionState.Open);
                    break;
                default:
                    for (var ticks = _random.Next(1, 9); ticks > 0; ticks--)
                    {
                        await TickAsync();
                    }

                    break;
            }
        }

        public void AssertAbandonedAreDead()
            => Assert.All(_abandoned, lease => Assert.Throws<LeaseAbandonedException>(() => lease.Connection));

        public ValueTask DisposeAsync() => _pool.DisposeAsync();

        private (Lease Lease, NpgsqlConnection Connection) Pick() => _leases.Values.ElementAt(_random.Next(_leases.Count));

        private async Task RentAsync()
        {
            TimeSpan? expectedHold = _random.Next(4) == 0 ? TimeSpan.FromSeconds(_random.Next(1, 10)) : null;
            var options = new RentOptions { AcquireTimeout = Timeout.InfiniteTimeSpan, ExpectedHold = expectedHold };
            _waiting.Enqueue((_pool.Pool.RentAsync(options).AsTask(), expectedHold));
            await SettleAsync();
        }

        private async Task ReturnAsync((Lease Lease, NpgsqlConnection Connection) held)
        {
            SetState(held, ConnectionState.Open);
            _leases.Remove(held.Lease.Id);
            if (_random.Next(2) == 0)
            {
                held.Lease.Dispose();
            }
            else
            {
                await held.Lease.DisposeAsync();
            }

            Expect(_oracle.Returned(held.Lease.Id) ? [$"returned {held.Lease.Id}"] : []);
            await SettleAsync();
        }

        private void SetState((Lease Lease, NpgsqlConnection Connection) held, ConnectionState state)
        {
            _pool.Source.SetState(held.Connection, state);
            _oracle.SetBusy(held.Lease.Id, state != ConnectionState.Open);
        }

        private async Task TickAsync()
        {
            var expected = _oracle.Look(Now + MaintenanceLoop.Period, _waiting.Count);
            _pool.Tick();
            Expect(expected);
            foreach (var said in expected.Where(said => said.StartsWith("abandoned", StringComparison.Ordinal)))
            {
                var (lease, _) = _leases[LeaseOf(said)];
                _leases.Remove(lease.Id);
                _abandoned.Add(lease);
            }

            await SettleAsync();
        }

        /// <summary>Waits until whoever can be served is, and tells the oracle.</summary>
        private async Task SettleAsync()
        {
            while (_waiting.Count > 0 && _leases.Count < _size)
            {
                var (rent, expectedHold) = _waiting.Dequeue();
                var lease = await rent.WaitAsync(TimeSpan.FromSeconds(10));
                var place = (int)(lease.Id % AdmissionGate.MostPlaces);
                _leases.Add(lease.Id, (lease, lease.Connection));
                _oracle.Rented(lease.Id, place, Now, expectedHold);
            }

            Assert.True(
                SpinWait.SpinUntil(() => _pool.Snapshot is { Opening: 0 } now && now.Leased == _leases.Count && now.Waiting == _waiting.Count, TimeSpan.FromSeconds(10)),
                $"{_leases.Count} leased and {_waiting.Count} waiting: {_pool.Snapshot}");
        }

        private void Expect(IReadOnlyCollection<string> expected)
        {
            var all = _pool.Log.Entries.Where(entry => entry.EventId.Id is LeakKit.Leak or LeakKit.Busy or LeakKit.ReturnedAfterAll).ToArray();
            Assert.Equal(expected, all.Skip(Said).Select(entry => $"{KindOf(entry)} {LeakKit.LeaseIn(entry.Message)}"));
            Said = all.Length;
            Assert.Equal(_abandoned.Count + expected.Count(said => said.StartsWith("abandoned", StringComparison.Ordinal)), _pool.Snapshot.TotalReclaimed);
            Assert.Equal(all.Count(entry => KindOf(entry) == "overdue"), _pool.Snapshot.TotalLeaksReported);
        }

        private static string KindOf(LogEntry entry) => entry.EventId.Id switch
        {
            LeakKit.Busy => "busy",
            LeakKit.ReturnedAfterAll => "returned",
            _ => entry.Message.Contains(" is overdue ", StringComparison.Ordinal) ? "overdue" : "abandoned",
        };

        private static long LeaseOf(string said) => long.Parse(said.Split(' ')[1], System.Globalization.CultureInfo.InvariantCulture);
    }
}
