namespace SafePool.Analyzers.Tests.Cases;

internal static class BlockingRentCases
{
    public static RuleCases All { get; } = new(
        "SFP0007",
        code => Verify.InMethod(code),
        wrong:
        [
            """using var lease = [|pool.RentAsync().Result|];""",
            """using var lease = [|pool.RentAsync().GetAwaiter().GetResult()|];""",
            """using var lease = [|pool.RentAsync().AsTask().Result|];""",
            """using var lease = [|pool.RentAsync().AsTask().GetAwaiter().GetResult()|];""",
            """using var lease = [|pool.RentAsync().ConfigureAwait(false).GetAwaiter().GetResult()|];""",
            """[|pool.RentAsync().AsTask().Wait()|];""",
            """using var connection = [|pool.OpenConnectionAsync().AsTask().Result|];""",
        ],
        right:
        [
            """using var lease = await pool.RentAsync();""",
            """using var lease = pool.Rent();""",
            """using var lease = await pool.RentAsync().ConfigureAwait(false);""",
            """var task = Task.FromResult(1); Console.WriteLine(task.Result);""",
            """using var connection = pool.OpenConnection();""",
            """using var lease = await pool.RentAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(1));""",
        ]);
}
