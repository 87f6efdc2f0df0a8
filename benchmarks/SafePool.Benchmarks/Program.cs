using BenchmarkDotNet.Running;
using SafePool.Benchmarks;

if (args is ["alternate"])
{
    await Alternating.RunAsync();
}
else
{
    BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(args);
}
